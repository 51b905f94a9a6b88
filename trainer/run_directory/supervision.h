// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/files/held_file.h"

namespace temper {

// That somebody stands over a run's ranks and starts them again (`temper supervise`): as long as this holds
// the file `.supervised`, a request to stop outlives its starts (trainer/run_directory/journal.h), and
// `temper stop` waits for whoever holds it. Where locks do not reach other machines, those see nobody.
class Supervision {
 public:
  explicit Supervision(std::string run_directory) : run_directory_(std::move(run_directory)) {}
  ~Supervision();
  Supervision(const Supervision&) = delete;
  Supervision& operator=(const Supervision&) = delete;

  // To be called now and then: holds it once the folder is there and nobody else does.
  void Hold();
  bool held() const { return file_ != nullptr; }

 private:
  const std::string run_directory_;
  std::unique_ptr<HeldFile> file_;
};

// Whether another process does.
bool IsSupervised(const std::string& run_directory);

// How many machines are held for the ranks that this process starts, those to spare too, which ranks hear by
// their environment. 0: nobody said.
void SayHeldMachines(int64_t count);
int64_t HeldMachines();

}  // namespace temper
