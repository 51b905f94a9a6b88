// SPDX-License-Identifier: Apache-2.0
// A library to preload into temper (tests/integration/kill.py): kills the process, as kill -9 does, at a
// chosen moment inside a rollout, an update, the writing of a checkpoint or the change of a stage. Where it
// is it tells by the files that are written, synced, renamed and removed.
//
// KILL_PHASE: rollout update checkpoint evaluation stage. KILL_COUNT: at which event of the phase. KILL_DELAY_US:
// update only, how long after its beginning. KILL_LOG: a file that the last words are appended to. KILL_RANK: of
// mpirun's, which alone is killed; without, all. KILL_STOP: it is stopped (SIGSTOP) instead, and goes on when it is
// told to. NO_LOCKS: flock always succeeds, as on a file system whose locks do not reach other machines.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int events;   // of the phase asked for
static atomic_long clock_;  // of all events, so that a delayed kill sees whether anything came between
static __thread int inside;

static const char* phase_of(const char* path) {
  const size_t length = strlen(path);
  if (strstr(path, "/trajectories/") && strstr(path, ".records")) return "rollout";
  if (strstr(path, "/step-") || strstr(path, "/.step-") || strstr(path, "/reference-") ||
      strstr(path, "/.reference-"))
    return "checkpoint";
  if (length > 12 && strcmp(path + length - 12, "/checkpoints") == 0) return "checkpoint";
  if (strstr(path, "/evaluation/") && strstr(path, ".records")) return "evaluation";
  if (strstr(path, "stage.json") || strstr(path, "summary.json") || strstr(path, "dataset.jsonl"))
    return "stage";
  if (strstr(path, "metrics.jsonl")) return "metrics";
  return NULL;
}

static void die(const char* phase, const char* what, const char* path) {
  char line[PATH_MAX + 100];
  const int length = snprintf(line, sizeof(line), "%s %s %s\n", phase, what, path);
  const char* log = getenv("KILL_LOG");
  const int file = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
  ssize_t (*real_write)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
  if (file < 0 || real_write(file, line, length) != length) _exit(99);
  if (getenv("KILL_STOP")) {
    kill(getpid(), SIGSTOP);
    return;
  }
  kill(getpid(), SIGKILL);
  pause();
}

static void* die_later(void* armed) {
  inside = 1;
  usleep(atoi(getenv("KILL_DELAY_US")));
  if (atomic_load(&clock_) == (long)armed) die("update", "computing", "-");
  return NULL;
}

// Whether the call is the one to die in; `begins`: an update begins when it is done.
static int event(const char* path, int begins) {
  const char* asked = getenv("KILL_PHASE");
  const char *only = getenv("KILL_RANK"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  if (only != NULL && rank != NULL && strcmp(only, rank) != 0) return 0;
  const char* phase = asked == NULL || inside ? NULL : phase_of(path);
  if (phase == NULL) return 0;
  const long now = atomic_fetch_add(&clock_, 1) + 1;
  const int count = atoi(getenv("KILL_COUNT"));
  if (strcmp(asked, "update") == 0) {
    if (begins && atomic_fetch_add(&events, 1) + 1 >= count) {
      pthread_t thread;
      pthread_create(&thread, NULL, die_later, (void*)now);
    }
    return 0;
  }
  return strcmp(asked, phase) == 0 && atomic_fetch_add(&events, 1) + 1 == count;
}

static void path_of(int file, char* path) {
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

// A killed write leaves half of its bytes.
ssize_t write(int file, const void* data, size_t size) {
  ssize_t (*real)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
  char path[PATH_MAX];
  if (file > 2) {
    path_of(file, path);
    if (event(path, 0)) {
      if (getenv("KILL_STOP") || real(file, data, size / 2) >= 0) die(phase_of(path), "write", path);
    }
  }
  return real(file, data, size);
}

int fsync(int file) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  char path[PATH_MAX];
  path_of(file, path);
  // An update begins when a rollout is on disk, or (sft, pretrain) when the last checkpoint stands.
  const char* phase = phase_of(path);
  const size_t length = strlen(path);
  const int stands = length > 12 && strcmp(path + length - 12, "/checkpoints") == 0;
  if (event(path, phase != NULL && (strcmp(phase, "rollout") == 0 || stands))) die(phase, "fsync", path);
  return real(file);
}

int flock(int file, int operation) {
  int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
  return getenv("NO_LOCKS") ? 0 : real(file, operation);
}

int rename(const char* from, const char* to) {
  int (*real)(const char*, const char*) = dlsym(RTLD_NEXT, "rename");
  if (event(to, 0)) die(phase_of(to), "rename", to);
  return real(from, to);
}

int unlink(const char* path) {
  int (*real)(const char*) = dlsym(RTLD_NEXT, "unlink");
  if (event(path, 0)) die(phase_of(path), "unlink", path);
  return real(path);
}
