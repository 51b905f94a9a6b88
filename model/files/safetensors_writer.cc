// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/files/staged.h"
#include "core/json/json.h"
#include "core/status.h"
#include "core/text.h"
#include "model/files/dtype.h"
#include "model/files/safetensors.h"

namespace temper {
namespace {

const char* DtypeName(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kByte:
      return "U8";
    default:
      TEMPER_CHECK(false, "no safetensors dtype for ", static_cast<int>(type));
  }
}

int64_t Bytes(const at::Tensor& tensor) { return tensor.numel() * tensor.element_size(); }

// Puts the tensors in the file's order and sets elements, begin and end.
void LayOut(std::vector<TensorInfo>* tensors) {
  std::sort(tensors->begin(), tensors->end(), [](const TensorInfo& a, const TensorInfo& b) {
    const int64_t x = DtypeBytes(a.dtype), y = DtypeBytes(b.dtype);
    return x != y ? x > y : a.name < b.name;
  });
  int64_t at = 0;
  for (TensorInfo& info : *tensors) {
    TEMPER_CHECK(DtypeBytes(info.dtype) > 0, info.name, " has dtype ", info.dtype);
    info.elements = 1;
    for (const int64_t size : info.shape) info.elements *= size;
    info.begin = at;
    info.end = at += info.elements * DtypeBytes(info.dtype);
  }
}

// The length, and the header padded with spaces so that the data begins at a multiple of 8.
std::string Header(const std::vector<TensorInfo>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::map<std::string, Json> entries;
  for (const TensorInfo& info : tensors) {
    TEMPER_CHECK(info.name != "__metadata__" && FirstInvalidUtf8(info.name) == std::string::npos, info.name);
    Json entry = Json::object();
    entry["dtype"] = info.dtype;
    entry["shape"] = info.shape;
    entry["data_offsets"] = {info.begin, info.end};
    TEMPER_CHECK(entries.emplace(info.name, std::move(entry)).second, "two tensors are named ", info.name);
  }
  std::string header = "{";
  const auto add = [&header](const std::string& name, const Json& value) {
    absl::StrAppend(&header, header.size() > 1 ? "," : "", DumpJson(Json(name)), ":", DumpJson(value));
  };
  if (!metadata.empty()) {
    Json object = Json::object();
    for (const auto& [key, value] : metadata) object[key] = value;
    add("__metadata__", object);
  }
  for (const auto& [name, entry] : entries) add(name, entry);
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<TensorInfo> tensors,
    const std::map<std::string, std::string>& metadata, StagedFiles* staged) {
  LayOut(&tensors);
  const std::string header = Header(tensors, metadata);
  std::unique_ptr<AtomicFile> file;
  if (staged == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(file, AtomicFile::Create(path));
  }
  std::unique_ptr<SafetensorsWriter> writer(
      new SafetensorsWriter(path, std::move(file), staged, std::move(tensors)));
  if (staged != nullptr) {
    const int64_t data = writer->tensors_.empty() ? 0 : writer->tensors_.back().end;
    writer->staged_file_ = staged->Add(path, static_cast<int64_t>(header.size()) + data);
  }
  TEMPER_RETURN_IF_ERROR(writer->Put(0, header));
  writer->data_offset_ = static_cast<int64_t>(header.size());
  for (const TensorInfo& info : writer->tensors_) {
    writer->by_name_[info.name] = &info;
    writer->missing_ = info.end;
  }
  return writer;
}

absl::Status SafetensorsWriter::Write(std::string_view name, int64_t first, const void* data, int64_t bytes) {
  const auto at = by_name_.find(name);
  TEMPER_CHECK(at != by_name_.end() && first >= 0 && bytes <= at->second->end - at->second->begin - first);
  missing_ -= bytes;
  return Put(data_offset_ + at->second->begin + first,
             {static_cast<const char*>(data), static_cast<size_t>(bytes)});
}

absl::Status SafetensorsWriter::Put(int64_t at, std::string_view bytes) {
  if (staged_ == nullptr) return file_->WriteAt(at, bytes);
  staged_->Put(staged_file_, at, bytes);
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Commit() {
  TEMPER_CHECK(missing_ == 0, missing_, " bytes were not written");
  return staged_ == nullptr ? file_->Commit() : absl::OkStatus();
}

absl::Status WriteSafetensors(const std::string& path, std::vector<NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::map<std::string_view, const at::Tensor*> values;
  std::vector<TensorInfo> infos;
  for (const NamedTensor& tensor : tensors) {
    values[tensor.name] = &tensor.value;
    infos.push_back({tensor.name, DtypeName(tensor.value.scalar_type()), tensor.value.sizes().vec()});
  }
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                          SafetensorsWriter::Create(path, std::move(infos), metadata));
  for (const TensorInfo& info : writer->tensors()) {
    const at::Tensor value = values[info.name]->contiguous();
    TEMPER_RETURN_IF_ERROR(writer->Write(info.name, 0, value.const_data_ptr(), Bytes(value)));
  }
  return writer->Commit();
}

}  // namespace temper
