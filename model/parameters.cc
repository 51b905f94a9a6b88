// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>

#include "ATen/ops/from_blob.h"
#include "core/check.h"
#include "core/huge_pages.h"
#include "core/random.h"
#include "core/stop.h"
#include "core/thread_pool.h"

namespace temper {
namespace {

constexpr int64_t kDrawChunk = 65536;  // values of one stream of draws: part of what a seed means

float Deviation(const LayoutEntry& entry, const ModelConfig& config, const InitScales& scales) {
  const double fan_in = std::sqrt(static_cast<double>(entry.whole.back()));
  switch (entry.init) {
    case LayoutEntry::Init::kEmbedding:
      return scales.embedding_std;
    case LayoutEntry::Init::kLinear:
      return static_cast<float>(scales.linear_gain / fan_in);
    case LayoutEntry::Init::kResidual:
      return static_cast<float>(scales.linear_gain / fan_in / std::sqrt(2.0 * config.num_layers));
    case LayoutEntry::Init::kHead:
      return static_cast<float>(scales.head_gain / fan_in);
    case LayoutEntry::Init::kOne:
    case LayoutEntry::Init::kZero:
      break;
  }
  return 0;
}

int64_t BytesOf(at::IntArrayRef sizes, at::ScalarType type) {
  int64_t bytes = static_cast<int64_t>(at::elementSize(type));
  for (int64_t size : sizes) bytes *= size;
  return bytes;
}

// What a tensor of a backend keeps.
struct Memory {
  std::shared_ptr<void> bytes;
  kernels::Backend* backend;
};
const Memory& MemoryOf(const at::Tensor& value) {
  return *static_cast<const Memory*>(value.storage().data_ptr().get_context());
}
struct Numbers {
  void* data;
  at::IntArrayRef sizes;
  at::ScalarType type;
};
at::Tensor TensorOver(Memory memory, const Numbers& numbers) {
  const at::Device device(memory.backend->host_memory() ? at::kCPU : at::kPrivateUse1);
  return at::for_blob(numbers.data, numbers.sizes)
      .context(new Memory(std::move(memory)), [](void* gone) { delete static_cast<Memory*>(gone); })
      .options(at::TensorOptions().dtype(numbers.type).device(device))
      .target_device(device)
      .make_tensor();
}
// All of its numbers as one row.
kernels::Matrix Flat(const at::Tensor& value) {
  kernels::Matrix matrix = MatrixOf(value);
  matrix.cols = matrix.stride = matrix.rows * matrix.cols;
  matrix.rows = 1;
  return matrix;
}

// What the rank keeps of draws that go row by row through the whole weight.
void FillNormal(const LayoutEntry& entry, uint64_t key, float deviation, float* data, ThreadPool& pool) {
  const bool matrix = entry.shape.size() == 2;
  const int64_t width = matrix ? entry.whole[1] : 1, columns = matrix ? entry.shape[1] : 1;
  const int64_t begin = entry.first_row * width, end = begin + entry.shape[0] * width;
  const int64_t first = begin / kDrawChunk, last = (end + kDrawChunk - 1) / kDrawChunk;
  pool.ParallelFor(last - first, 1, [&](int64_t from, int64_t to) {
    for (int64_t chunk = first + from; chunk < first + to && !StopRequested(); ++chunk) {
      RandomStream stream(key, Purpose::kInit, static_cast<uint32_t>(chunk));
      const int64_t stop = std::min(end, (chunk + 1) * kDrawChunk);
      for (int64_t i = chunk * kDrawChunk; i < stop; ++i) {
        const auto value = static_cast<float>(deviation * stream.NextNormal());
        const int64_t row = i / width - entry.first_row, column = i % width - entry.first_column;
        if (i < begin || column < 0 || column >= columns) continue;
        const int64_t kept = row * columns + column - entry.first_element;
        if (kept >= 0 && kept < entry.elements) data[kept] = value;
      }
    }
  });
}

}  // namespace

at::Tensor NewTensor(kernels::Backend& backend, at::IntArrayRef sizes, at::ScalarType type) {
  Memory memory{backend.Allocate(BytesOf(sizes, type)), &backend};
  void* const data = memory.bytes.get();
  return TensorOver(std::move(memory), {data, sizes, type});
}

at::Tensor Elements(const at::Tensor& vector, int64_t first, int64_t count) {
  TEMPER_CHECK(vector.dim() == 1 && vector.is_contiguous() && first + count <= vector.numel());
  if (vector.is_cpu()) return vector.narrow(0, first, count);
  char* const data = static_cast<char*>(vector.mutable_data_ptr());
  return TensorOver(MemoryOf(vector), {data + first * vector.element_size(), {count}, vector.scalar_type()});
}

at::Tensor OnHost(const at::Tensor& value) {
  if (value.is_cpu()) return value;
  at::Tensor copy = NewHostTensor(value.sizes(), value.scalar_type());
  CopyTensor(value, copy);
  return copy;
}

void CopyTensor(const at::Tensor& from, const at::Tensor& to) {
  TEMPER_CHECK(from.sizes() == to.sizes() && from.scalar_type() == to.scalar_type());
  if (from.is_cpu() && to.is_cpu()) {
    to.copy_(from);
  } else if (from.is_cpu()) {
    MemoryOf(to).backend->CopyFromHost(from.const_data_ptr(), Flat(to));
  } else if (to.is_cpu()) {
    MemoryOf(from).backend->CopyToHost(Flat(from), to.mutable_data_ptr());
  } else {
    MemoryOf(to).backend->Copy(Flat(from), Flat(to));
  }
}

at::Tensor NewHostTensor(at::IntArrayRef sizes, at::ScalarType type) {
  const auto memory = std::make_shared<FloatBuffer>();
  float* const data = memory->Reserve((BytesOf(sizes, type) + 3) / 4);
  return at::from_blob(
      data, sizes, [memory](void*) {}, type);
}

kernels::Matrix MatrixOf(const at::Tensor& value) {
  TEMPER_CHECK(value.is_contiguous() && value.dim() <= 2);
  const bool bf16 = value.scalar_type() == at::kBFloat16;
  TEMPER_CHECK(bf16 || value.scalar_type() == at::kFloat);
  const int64_t n = value.dim() == 0 ? 1 : value.size(0), k = value.dim() == 2 ? value.size(1) : 1;
  return {const_cast<void*>(value.const_data_ptr()), bf16 ? kernels::Type::kBf16 : kernels::Type::kF32, n, k,
          k};
}

Parameters::Parameters(Layout layout, std::vector<at::Tensor> values) : layout_(std::move(layout)) {
  TEMPER_CHECK(values.size() == layout_.entries().size());
  for (size_t i = 0; i < values.size(); ++i) {
    const LayoutEntry& entry = layout_.entries()[i];
    const bool whole = entry.elements == PartElements(entry);
    TEMPER_CHECK(values[i].is_contiguous() && values[i].numel() == entry.elements &&
                     (!whole || values[i].sizes() == entry.shape),
                 entry.name);
    list_.push_back({entry, std::move(values[i])});
  }
}

const at::Tensor& Parameters::operator[](std::string_view name) const {
  const int64_t index = layout_.Find(name);
  TEMPER_CHECK(index >= 0, "no parameter ", std::string(name));
  return list_[index].value;
}

Parameters Parameters::Clone() const {
  std::vector<at::Tensor> copies;
  for (const Parameter& parameter : list_) {
    const at::Tensor& value = parameter.value;
    copies.push_back(NewHostTensor(value.sizes(), value.scalar_type()));
    CopyTensor(value, copies.back());
  }
  return Parameters(layout_, std::move(copies));
}

Parameters ForRounded(const Parameters& parameters, kernels::Backend& backend) {
  std::vector<at::Tensor> values;
  for (const Parameter& from : parameters.list()) {
    if (!from.trained || from.value.scalar_type() == at::kBFloat16) {
      values.push_back(from.value);
    } else {
      values.push_back(
          NewTensor(backend, from.value.sizes(), from.shape.size() == 2 ? at::kBFloat16 : at::kFloat));
    }
  }
  return Parameters(parameters.layout(), std::move(values));
}

void Round(const Parameters& parameters, kernels::Backend& backend, Parameters* rounded) {
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const at::Tensor &from = parameters.list()[i].value, &to = rounded->list()[i].value;
    if (from.const_data_ptr() != to.const_data_ptr()) backend.RoundToBf16(MatrixOf(from), MatrixOf(to));
  }
}

Parameters InitializeParameters(const ModelConfig& config, uint64_t seed, const InitScales& scales,
                                const MeshPlace& place) {
  ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  Layout layout(config, place);
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : layout.entries()) {
    at::Tensor value =
        entry.elements == PartElements(entry) ? NewHostTensor(entry.shape) : NewHostTensor({entry.elements});
    float* data = value.mutable_data_ptr<float>();
    if (entry.init == LayoutEntry::Init::kOne || entry.init == LayoutEntry::Init::kZero) {
      std::fill_n(data, value.numel(), entry.init == LayoutEntry::Init::kOne ? 1.0f : 0.0f);
    } else {
      FillNormal(entry, RandomKey(seed, "init", 0, entry.name), Deviation(entry, config, scales), data, pool);
    }
    values.push_back(std::move(value));
  }
  return Parameters(std::move(layout), std::move(values));
}

}  // namespace temper
