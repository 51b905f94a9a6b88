// SPDX-License-Identifier: Apache-2.0
// Trajectories on disk: the bytes as a file, and as a record whose checksums are right.
#include "core/files/crc32c.h"
#include "data/record_file.h"
#include "tests/fuzz/fuzz.h"

namespace temper {
namespace {

std::string Word(uint32_t value) { return std::string(reinterpret_cast<const char*>(&value), 4); }

}  // namespace
}  // namespace temper

FUZZ(bytes) {
  using namespace temper;
  (void)ReadGroupFile(InputFile(bytes).path());
  const std::string length = Word(static_cast<uint32_t>(bytes.size()));
  const std::string record = length + Word(Crc32c(length)) + Word(Crc32c(bytes)) + std::string(bytes);
  (void)ReadGroupFile(InputFile(record + record).path());
  const auto trajectory = DecodeTrajectory(bytes);
  if (trajectory.ok()) TEMPER_CHECK(DecodeTrajectory(EncodeTrajectory(*trajectory)).ok(), "comes back");
}
