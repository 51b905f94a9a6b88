// SPDX-License-Identifier: Apache-2.0
// A library of its own (CMakeLists.txt): nothing else sees Arrow's headers or symbols.
#include "data/dataset/parquet_module.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "arrow/api.h"
#include "arrow/io/file.h"
#include "parquet/arrow/reader.h"

namespace {

using arrow::Array;
using arrow::Status;
using arrow::Type;

constexpr int64_t kBatchRows = 1024;

// Arrow does not check that a column of strings is UTF-8; JSON must be.
size_t SequenceLength(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  if (length < 2) return length;
  if (at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(at + 1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool beyond = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || beyond ? 0 : length;
}

void AppendString(std::string_view text, std::string* out) {
  out->push_back('"');
  for (size_t at = 0; at < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[at]);
    const size_t length = SequenceLength(text, at);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(static_cast<char>(c));
    } else if (c < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      out->append(escape);
    } else if (length == 0) {
      out->append("\xEF\xBF\xBD");
    } else {
      out->append(text, at, length);
    }
    at += length == 0 ? 1 : length;
  }
  out->push_back('"');
}

template <class T>
void AppendDouble(T value, std::string* out) {
  if (!std::isfinite(value)) {
    out->append("null");
    return;
  }
  char text[40];  // the shortest decimal of the value
  out->append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

Status AppendValue(const Array& array, int64_t index, std::string* out);

template <class List>
Status AppendList(const List& list, int64_t index, std::string* out) {
  out->push_back('[');
  for (int64_t i = 0; i < list.value_length(index); ++i) {
    if (i > 0) out->push_back(',');
    ARROW_RETURN_NOT_OK(AppendValue(*list.values(), list.value_offset(index) + i, out));
  }
  out->push_back(']');
  return Status::OK();
}

Status AppendStruct(const arrow::StructArray& array, int64_t index, std::string* out) {
  out->push_back('{');
  for (int i = 0; i < array.num_fields(); ++i) {
    if (i > 0) out->push_back(',');
    AppendString(array.type()->field(i)->name(), out);
    out->push_back(':');
    ARROW_RETURN_NOT_OK(AppendValue(*array.field(i), index, out));
  }
  out->push_back('}');
  return Status::OK();
}

Status AppendMap(const arrow::MapArray& map, int64_t index, std::string* out) {
  if (map.keys()->type_id() != Type::STRING) return AppendList(map, index, out);  // a list of {key, value}
  const auto& keys = static_cast<const arrow::StringArray&>(*map.keys());
  out->push_back('{');
  for (int64_t i = 0; i < map.value_length(index); ++i) {
    if (i > 0) out->push_back(',');
    const int64_t at = map.value_offset(index) + i;
    AppendString(keys.GetView(at), out);
    out->push_back(':');
    ARROW_RETURN_NOT_OK(AppendValue(*map.items(), at, out));
  }
  out->push_back('}');
  return Status::OK();
}

template <class T>
const T& As(const Array& array) {
  return static_cast<const T&>(array);
}

Status AppendValue(const Array& array, int64_t index, std::string* out) {
  if (array.IsNull(index)) {
    out->append("null");
    return Status::OK();
  }
  switch (array.type_id()) {
    case Type::BOOL:
      out->append(As<arrow::BooleanArray>(array).Value(index) ? "true" : "false");
      return Status::OK();
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64: {
      ARROW_ASSIGN_OR_RAISE(const auto value, array.GetScalar(index));
      out->append(value->ToString());
      return Status::OK();
    }
    case Type::FLOAT:
      AppendDouble(As<arrow::FloatArray>(array).Value(index), out);
      return Status::OK();
    case Type::DOUBLE:
      AppendDouble(As<arrow::DoubleArray>(array).Value(index), out);
      return Status::OK();
    case Type::STRING:
    case Type::BINARY:
      AppendString(As<arrow::BinaryArray>(array).GetView(index), out);
      return Status::OK();
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      AppendString(As<arrow::LargeBinaryArray>(array).GetView(index), out);
      return Status::OK();
    case Type::LIST:
      return AppendList(As<arrow::ListArray>(array), index, out);
    case Type::LARGE_LIST:
      return AppendList(As<arrow::LargeListArray>(array), index, out);
    case Type::FIXED_SIZE_LIST:
      return AppendList(As<arrow::FixedSizeListArray>(array), index, out);
    case Type::STRUCT:
      return AppendStruct(As<arrow::StructArray>(array), index, out);
    case Type::MAP:
      return AppendMap(As<arrow::MapArray>(array), index, out);
    case Type::DICTIONARY: {
      const auto& dictionary = As<arrow::DictionaryArray>(array);
      return AppendValue(*dictionary.dictionary(), dictionary.GetValueIndex(index), out);
    }
    default: {  // times, decimals, half floats: as Arrow writes them
      ARROW_ASSIGN_OR_RAISE(const auto value, array.GetScalar(index));
      AppendString(value->ToString(), out);
      return Status::OK();
    }
  }
}

Status AppendRow(const arrow::RecordBatch& batch, int64_t index, std::string* out) {
  out->push_back('{');
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (i > 0) out->push_back(',');
    AppendString(batch.column_name(i), out);
    out->push_back(':');
    ARROW_RETURN_NOT_OK(AppendValue(*batch.column(i), index, out));
  }
  out->push_back('}');
  return Status::OK();
}

Status GiveRows(const char* path, void* context, int (*row)(void*, const char*, size_t)) {
  ARROW_ASSIGN_OR_RAISE(const auto file, arrow::io::ReadableFile::Open(path));
  parquet::arrow::FileReaderBuilder builder;
  ARROW_RETURN_NOT_OK(builder.Open(file));
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_batch_size(kBatchRows);
  properties.set_pre_buffer(false);
  ARROW_ASSIGN_OR_RAISE(const auto reader, builder.properties(properties)->Build());
  ARROW_ASSIGN_OR_RAISE(const auto batches, reader->GetRecordBatchReader());
  std::string text;
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, batches->Next());
    if (batch == nullptr) return Status::OK();
    ARROW_RETURN_NOT_OK(batch->ValidateFull());
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      text.clear();
      ARROW_RETURN_NOT_OK(AppendRow(*batch, i, &text));
      if (row(context, text.data(), text.size()) != 0) return Status::Cancelled("stopped by the caller");
    }
  }
}

}  // namespace

extern "C" int temper_parquet_rows(const char* path, void* context, int (*row)(void*, const char*, size_t),
                                   char* error, size_t size) {
  std::string what;
  try {
    const Status status = GiveRows(path, context, row);
    if (status.ok()) return 0;
    what = status.message();
  } catch (const std::exception& exception) {  // Parquet's reader throws
    what = exception.what();
  }
  std::snprintf(error, size, "%s", what.c_str());
  return 1;
}
