// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi.h"

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/check.h"
#include "core/log.h"

namespace temper {
namespace {

const absl::Duration kPatience = absl::Milliseconds(100);

std::string ErrorText(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return absl::StrCat("MPI error ", code);
  return std::string(text, length);
}

constexpr int kNoteTag = (1 << 15) - 1;  // the largest that every MPI has
constexpr size_t kNoteBytes = 1000;

constexpr int kCallSeconds = 30;    // of calls that never wait for a peer
constexpr int kStartSeconds = 300;  // of those that wait for all ranks to start, and to end

// Notices a call of MPI that does not return. Those that are made here never wait for a peer, so one that
// stands still is held by the network: Open MPI 4 reads a new connection's first bytes without a limit of
// time, whoever sends them. Lives as long as the process.
class CallWatch {
 public:
  static CallWatch& Get() {
    static auto* const watch = new CallWatch;
    return *watch;
  }

  // `call` is made, and may take so many seconds.
  template <class F>
  int Made(const char* name, int seconds, F call) {
    name_.store(name, std::memory_order_relaxed);
    seconds_.store(seconds, std::memory_order_relaxed);
    const int64_t count = count_.load(std::memory_order_relaxed);  // only this thread changes it
    count_.store(count + 1, std::memory_order_release);
    const int code = call();
    count_.store(count + 2, std::memory_order_release);
    return code;
  }

 private:
  CallWatch() {
    std::thread([this] { Watch(); }).detach();
  }

  // Counts seconds that this process was at work, not those for which it was stopped.
  void Watch() {
    int64_t seen = 0;
    for (int seconds = 0;; ++seconds) {
      absl::SleepFor(absl::Seconds(1));
      const int64_t count = count_.load(std::memory_order_acquire);
      if (count != seen || count % 2 == 0) seconds = 0;
      seen = count;
      if (seconds < seconds_.load(std::memory_order_relaxed)) continue;
      LogError(
          name_.load(std::memory_order_relaxed), " has not returned for ", seconds,
          " s: the network is gone, or what is no rank has connected to a port of this process (ss -tnp "
          "shows it; docs/security.md says which settings keep ports private); the same command goes on");
      _exit(1);
    }
  }

  std::atomic<int64_t> count_{0};  // of begins and ends: odd within a call
  std::atomic<const char*> name_{""};
  std::atomic<int> seconds_{kStartSeconds};
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Ranks of one machine talk through its memory alone: Open MPI's ranks would else listen on a TCP port on
// every interface, where whoever connects can stop them. What the user chose stands.
void OpenNoPorts() {
  const std::string size = Environment("OMPI_COMM_WORLD_SIZE");
  const bool one_machine = size.empty() ? Environment("SLURM_STEP_NUM_NODES") == "1"
                                        : Environment("OMPI_COMM_WORLD_LOCAL_SIZE") == size;
  if (one_machine) setenv("OMPI_MCA_btl", "self,vader", 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MpiCommunicator>> MpiCommunicator::Open(size_t chunk_bytes) {
  TEMPER_CHECK(chunk_bytes >= 1 && chunk_bytes <= size_t{1} << 30, "pieces of ", chunk_bytes, " bytes");
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (finalized)
    return absl::FailedPreconditionError("MPI was used and closed in this process; it opens once");
  if (!initialized) {
    OpenNoPorts();
    int provided = 0;
    const int code = CallWatch::Get().Made("MPI_Init", kStartSeconds, [&] {
      return MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    });
    if (code != MPI_SUCCESS)
      return absl::UnavailableError(absl::StrCat("MPI does not start: ", ErrorText(code)));
    if (provided < MPI_THREAD_FUNNELED) return absl::UnavailableError("this MPI was built without threads");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return std::unique_ptr<MpiCommunicator>(new MpiCommunicator(rank, size, chunk_bytes, !initialized));
}

struct MpiCommunicator::Posted {
  explicit Posted(std::string note) : text(std::move(note)) {}
  const std::string text;
  MPI_Request request = MPI_REQUEST_NULL;
};

struct MpiCommunicator::Copied {
  std::string bytes;
  std::vector<MPI_Request> requests;
};

MpiCommunicator::MpiCommunicator(int rank, int size, size_t chunk_bytes, bool owner)
    : rank_(rank),
      size_(size),
      chunk_bytes_(chunk_bytes),
      owner_(owner),
      exceptions_(std::uncaught_exceptions()) {}

MpiCommunicator::~MpiCommunicator() {
  // Whoever has not heard them by now never will.
  for (const std::unique_ptr<Posted>& posted : posted_) MPI_Request_free(&posted->request);
  for (const std::unique_ptr<Copied>& copied : copied_) {
    for (MPI_Request& request : copied->requests) {
      if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
    }
  }
  if (owner_ && !failed_ && std::uncaught_exceptions() == exceptions_)
    CallWatch::Get().Made("MPI_Finalize", kStartSeconds, [] { return MPI_Finalize(); });
}

void MpiCommunicator::Abort(const std::string& message, int code) {
  std::fprintf(stderr, "temper: rank %d of %d: %s\n", rank_, size_, message.c_str());
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

// Notes are short: MPI takes them at once, whether or not the other end is listening.
void MpiCommunicator::Post(int to, std::string_view note) {
  CallWatch& watch = CallWatch::Get();
  for (int done = 1; !posted_.empty() && done != 0;) {
    watch.Made("MPI_Test", kCallSeconds,
               [&] { return MPI_Test(&posted_.front()->request, &done, MPI_STATUS_IGNORE); });
    if (done != 0) posted_.pop_front();
  }
  posted_.push_back(std::make_unique<Posted>(std::string(note.substr(0, kNoteBytes))));
  Posted& posted = *posted_.back();
  watch.Made("MPI_Isend", kCallSeconds, [&] {
    return MPI_Isend(posted.text.data(), static_cast<int>(posted.text.size()), MPI_BYTE, to, kNoteTag,
                     MPI_COMM_WORLD, &posted.request);
  });
}

Communicator::Note MpiCommunicator::HeardNote() {
  int there = 0;
  MPI_Status status;
  CallWatch& watch = CallWatch::Get();
  int code = watch.Made("MPI_Iprobe", kCallSeconds, [&] {
    return MPI_Iprobe(MPI_ANY_SOURCE, kNoteTag, MPI_COMM_WORLD, &there, &status);
  });
  if (code != MPI_SUCCESS || !there) return {};
  int length = 0;
  MPI_Get_count(&status, MPI_BYTE, &length);
  Note note{status.MPI_SOURCE, std::string(length, '\0')};
  code = watch.Made("MPI_Recv", kCallSeconds, [&] {
    return MPI_Recv(note.text.data(), length, MPI_BYTE, note.from, kNoteTag, MPI_COMM_WORLD, &status);
  });
  return code == MPI_SUCCESS ? note : Note();
}

// Pieces of one message keep their order: same ends, same tag. A message of no bytes is one piece.
struct MpiCommunicator::Started : Moving {
  Started(MpiCommunicator* with, const Message& of) : comm(with), message(of) {}
  // Or a late message would land in freed memory, or be read from there. What has come in part, or goes, is
  // waited for, but not for long, all messages that are dropped together: the peers may be gone.
  ~Started() override {
    for (size_t i = over; i < std::min(expected.size(), requests.size()); ++i)
      if (requests[i] != MPI_REQUEST_NULL) MPI_Cancel(&requests[i]);
    const absl::Time began = absl::Now();
    while (over < requests.size() && absl::Now() - began < comm->last_pieces_) {
      int done = 1;
      if (requests[over] != MPI_REQUEST_NULL) {
        CallWatch::Get().Made("MPI_Test", kCallSeconds,
                              [&] { return MPI_Test(&requests[over], &done, MPI_STATUS_IGNORE); });
      }
      over += done != 0 ? 1 : 0;
    }
    comm->last_pieces_ -= absl::Now() - began;
  }

  MpiCommunicator* const comm;
  const Message message;
  std::vector<MPI_Request> requests;
  std::vector<size_t> expected;  // bytes of each receive, which come first
  size_t over = 0;               // requests that are
};

void MpiCommunicator::Fail(const Message& message, const std::string& why) {
  failed_ = true;
  throw CommError(absl::StrCat(Describe(message), ": ", why));
}

std::unique_ptr<Communicator::Moving> MpiCommunicator::StartMove(const Message& message) {
  auto started = std::make_unique<Started>(this, message);
  CallWatch& watch = CallWatch::Get();
  auto* in = static_cast<char*>(message.in);
  auto* out = static_cast<const char*>(message.out);
  auto pieces = [&](int peer, size_t bytes, auto start) {
    if (peer < 0) return;
    size_t offset = 0;
    do {
      const size_t length = std::min(chunk_bytes_, bytes - offset);
      const int code =
          start(offset, static_cast<int>(length), &started->requests.emplace_back(MPI_REQUEST_NULL));
      if (code != MPI_SUCCESS) Fail(message, ErrorText(code));
      offset += length;
    } while (offset < bytes);
  };
  pieces(message.from, message.in_bytes, [&](size_t offset, int length, MPI_Request* request) {
    started->expected.push_back(length);
    return watch.Made("MPI_Irecv", kCallSeconds, [&] {
      return MPI_Irecv(in + offset, length, MPI_BYTE, message.from, message.tag, MPI_COMM_WORLD, request);
    });
  });
  pieces(message.to, message.out_bytes, [&](size_t offset, int length, MPI_Request* request) {
    return watch.Made("MPI_Isend", kCallSeconds, [&] {
      return MPI_Isend(out + offset, length, MPI_BYTE, message.to, message.tag, MPI_COMM_WORLD, request);
    });
  });
  return started;
}

bool MpiCommunicator::MoveIsOver(Moving* moving) {
  auto& started = static_cast<Started&>(*moving);
  for (; started.over < started.requests.size(); ++started.over) {
    int done = 0;
    MPI_Status status;
    const int code = CallWatch::Get().Made(
        "MPI_Test", kCallSeconds, [&] { return MPI_Test(&started.requests[started.over], &done, &status); });
    if (code != MPI_SUCCESS) Fail(started.message, ErrorText(code));
    if (!done) return false;
    if (started.over >= started.expected.size()) continue;
    int length = 0;
    MPI_Get_count(&status, MPI_BYTE, &length);
    if (static_cast<size_t>(length) != started.expected[started.over])
      Fail(started.message, absl::StrCat("the peer sent ", length, " bytes"));
  }
  return true;
}

// MPI moves bytes only while it is called: who sleeps between polls slows its own message down. So it sleeps
// only when for a while no piece has come to its end.
void MpiCommunicator::FinishMove(Moving* moving) {
  auto& started = static_cast<Started&>(*moving);
  Wait wait(this, started.message);
  for (int64_t polls = 0;; ++polls) {
    const size_t before = started.over;
    if (MoveIsOver(moving)) return;
    if (started.over > before) wait.Progressed();
    if (polls % 64 != 63) continue;
    const bool receiving = started.over < started.expected.size();
    try {
      wait.Look(receiving ? started.message.from : started.message.to);
    } catch (const CommError& error) {
      failed_ |= dynamic_cast<const PeerLeft*>(&error) == nullptr;
      throw;
    }
    if (wait.waited() > kPatience) {
      absl::SleepFor(absl::Milliseconds(1));
    } else {
      sched_yield();
    }
  }
}

void MpiCommunicator::Move(const Message& message) { FinishMove(StartMove(message).get()); }

void MpiCommunicator::MoveCopy(const Message& message) {
  CallWatch& watch = CallWatch::Get();
  for (int done = 1; !copied_.empty() && done != 0;) {
    std::vector<MPI_Request>& requests = copied_.front()->requests;
    watch.Made("MPI_Testall", kCallSeconds, [&] {
      return MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    });
    if (done != 0) copied_.pop_front();
  }
  copied_.push_back(std::make_unique<Copied>());
  Copied& copied = *copied_.back();
  copied.bytes.assign(static_cast<const char*>(message.out), message.out_bytes);
  // In the pieces that Move expects.
  size_t offset = 0;
  do {
    const size_t length = std::min(chunk_bytes_, copied.bytes.size() - offset);
    const int code = watch.Made("MPI_Isend", kCallSeconds, [&] {
      return MPI_Isend(copied.bytes.data() + offset, static_cast<int>(length), MPI_BYTE, message.to,
                       message.tag, MPI_COMM_WORLD, &copied.requests.emplace_back());
    });
    if (code != MPI_SUCCESS) {
      failed_ = true;
      throw CommError(absl::StrCat(Describe(message), ": ", ErrorText(code)));
    }
    offset += length;
  } while (offset < copied.bytes.size());
}

bool MpiCommunicator::Come(int from, int tag) {
  int there = 0;
  const int code = CallWatch::Get().Made("MPI_Iprobe", kCallSeconds, [&] {
    return MPI_Iprobe(from, tag, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
  });
  return code == MPI_SUCCESS && there != 0;
}

absl::StatusOr<std::unique_ptr<Communicator>> OpenWorld() {
  // Open MPI's mpirun sets the first, PMIx (srun --mpi=pmix, and mpirun too) the second.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr) {
    absl::StatusOr<std::unique_ptr<MpiCommunicator>> mpi = MpiCommunicator::Open();
    if (!mpi.ok()) return mpi.status();
    return std::unique_ptr<Communicator>(std::move(*mpi));
  }
  int number = 1;
  if (absl::SimpleAtoi(Environment("SLURM_STEP_NUM_TASKS"), &number) && number > 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "srun started ", number, " tasks without PMIx, so they cannot find each other: use srun --mpi=pmix"));
  }
  return std::unique_ptr<Communicator>(std::make_unique<SelfCommunicator>());
}

}  // namespace temper
