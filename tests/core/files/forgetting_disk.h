// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/files/disk.h"
#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {

// Files by their paths in a folder, and the folders.
struct Tree {
  std::map<std::string, std::string> files;
  std::set<std::string> folders;
};

// Makes the folder anew.
inline void WriteTree(const Tree& tree, const std::string& folder) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const std::string& name : tree.folders) std::filesystem::create_directories(folder + "/" + name);
  for (const auto& [name, bytes] : tree.files) std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
}

// A disk that notes what is written below a folder, which is empty when it begins, and tells what a loss of
// power may leave: by POSIX, and no more. Bytes are there for good after a Sync of the file, names after one
// of their folder. What was not synced may be there in any part and any order: each sector of 512 bytes
// as it was at some moment since, and a file's length without its bytes; a rename is done or not. Any thread.
class ForgettingDisk : public Disk {
 public:
  explicit ForgettingDisk(const std::string& root) : root_(root) { Node(root); }

  int64_t operations() const { return static_cast<int64_t>(operations_.size()); }

  // What is there when the power goes before operation `at`: a function of the seed.
  Tree After(int64_t at, uint64_t seed) const {
    constexpr double kKept[] = {0, 0.5, 0.9, 1};
    return Crash(*this, at, seed, kKept[Hash(seed, 1) % 4]).Left();
  }
  // The same where a process was killed, and the power stays: all that was done before.
  Tree AfterDeath(int64_t at) const { return Crash(*this, at, 0, 1).Left(); }
  // And of what had to be kept alone.
  Tree Least(int64_t at) const { return Crash(*this, at, 0, 0).Left(); }

  static uint64_t Hash(uint64_t a, uint64_t b) { return RandomKey(a, "power", b, ""); }

  int Open(const std::string& path, int flags, mode_t mode) override {
    const std::lock_guard lock(mutex_);
    struct stat info;
    const bool was_there = lstat(path.c_str(), &info) == 0;
    const int file = Disk::Open(path, flags, mode);
    if (file >= 0 && !was_there) Appears(path, false);
    return file;
  }
  ssize_t Write(int file, std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    const off_t at = lseek(file, 0, SEEK_CUR);
    const ssize_t done = Disk::Write(file, bytes);
    if (done > 0) Writes(file, bytes.substr(0, static_cast<size_t>(done)), at);
    return done;
  }
  ssize_t WriteAt(int file, std::string_view bytes, int64_t offset) override {
    const std::lock_guard lock(mutex_);
    const ssize_t done = Disk::WriteAt(file, bytes, offset);
    if (done > 0) Writes(file, bytes.substr(0, static_cast<size_t>(done)), offset);
    return done;
  }
  int Cut(int file, int64_t bytes) override {
    const std::lock_guard lock(mutex_);
    const int done = Disk::Cut(file, bytes);
    if (const int64_t node = NodeOf(file); done == 0 && node >= 0)
      operations_.push_back({.kind = Operation::kCut, .node = node, .offset = bytes});
    return done;
  }
  int Sync(int file) override {
    const std::lock_guard lock(mutex_);
    // No fsync: what is there for good is only of interest here, and tests lie in memory.
    if (const int64_t node = NodeOf(file); node >= 0 && !PassesOver())
      operations_.push_back({.kind = Operation::kSync, .node = node});
    return 0;
  }
  int Rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    const int done = Disk::Rename(from, to);
    if (done != 0 || !IsOurs(from)) return done;
    EXPECT_EQ(FolderOf(from), FolderOf(to)) << "between folders nothing is renamed";
    if (IsTold(to)) {
      passes_over_ = std::this_thread::get_id();
    } else {
      operations_.push_back({.kind = Operation::kRename,
                             .node = Node(FolderOf(from)),
                             .other = Node(to),
                             .name = NameOf(from),
                             .to = NameOf(to)});
    }
    return done;
  }
  int MakeFolder(const std::string& path, mode_t mode) override {
    const std::lock_guard lock(mutex_);
    const int done = Disk::MakeFolder(path, mode);
    if (done == 0) Appears(path, true);
    return done;
  }
  int RemoveFolder(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    const int64_t node = Node(path);
    return Removes(path, node, Disk::RemoveFolder(path));
  }
  int RemoveFile(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    const int64_t node = Node(path);
    return Removes(path, node, Disk::RemoveFile(path));
  }

 private:
  struct Operation {
    enum Kind { kAppear, kRename, kRemove, kWrite, kCut, kSync } kind;
    int64_t node = 0;        // the file, or the folder whose names change
    int64_t other = -1;      // the file or folder that has the name
    std::string name, to;    // in the folder
    int64_t offset = 0;      // of a write; of a cut, the length
    std::string bytes = "";  // of a write
    bool is_folder = false;  // what appears
  };

  // Replays what was noted: all up to the last Sync, and of the rest what the seed says.
  class Crash {
   public:
    Crash(const ForgettingDisk& disk, int64_t at, uint64_t seed, double kept)
        : operations_(disk.operations_.begin(), disk.operations_.begin() + at), seed_(seed), kept_(kept) {
      for (size_t i = 0; i < operations_.size(); ++i) {
        if (operations_[i].kind == Operation::kSync) synced_[operations_[i].node] = i;
        if (operations_[i].kind == Operation::kAppear && operations_[i].is_folder)
          folders_.insert(operations_[i].other);
      }
      for (size_t i = 0; i < operations_.size(); ++i) Replay(i);
    }

    Tree Left() const {
      Tree tree;
      Add(0, "", &tree);
      return tree;
    }

   private:
    bool Chance(size_t i, uint64_t more = 0) const {
      return static_cast<double>(Hash(seed_ + i, more + 2) >> 11) * 0x1p-53 < kept_;
    }

    void Replay(size_t i) {
      const Operation& now = operations_[i];
      const auto synced = synced_.find(now.node);
      const bool sure = synced != synced_.end() && synced->second > i;
      if (now.kind == Operation::kWrite) return Write(i, sure);
      if (!sure && !Chance(i)) return;
      std::map<std::string, int64_t>& names = names_[now.node];
      std::string& bytes = bytes_[now.node];
      switch (now.kind) {
        case Operation::kAppear:
          names[now.name] = now.other;
          break;
        case Operation::kRename:
          if (names.contains(now.name) && names[now.name] == now.other) names.erase(now.name);
          names[now.to] = now.other;
          break;
        case Operation::kRemove:
          if (names.contains(now.name) && names[now.name] == now.other) names.erase(now.name);
          break;
        case Operation::kCut:
          bytes.resize(static_cast<size_t>(now.offset));
          break;
        case Operation::kWrite:
        case Operation::kSync:
          break;
      }
    }

    void Write(size_t i, bool sure) {
      constexpr int64_t kSector = 512;
      const Operation& now = operations_[i];
      const int64_t length = static_cast<int64_t>(now.bytes.size());
      std::string& bytes = bytes_[now.node];
      const bool longer = sure || Chance(i, 1);  // the length may be there without the bytes
      if (longer) bytes.resize(std::max<size_t>(bytes.size(), static_cast<size_t>(now.offset + length)));
      for (int64_t begin = 0; begin < length;) {
        const int64_t end = std::min(length, ((now.offset + begin) / kSector + 1) * kSector - now.offset);
        // A sector reaches the disk as it is at some moment: with all writes to it before that and none
        // after.
        const std::pair sector(now.node, (now.offset + begin) / kSector);
        if (sure) frozen_.erase(sector);
        const bool kept = sure || (!frozen_.contains(sector) && Chance(i, 2 + static_cast<uint64_t>(begin)));
        if (!kept) frozen_.insert(sector);
        if (kept) {
          bytes.resize(std::max<size_t>(bytes.size(), static_cast<size_t>(now.offset + end)));
          bytes.replace(static_cast<size_t>(now.offset + begin), static_cast<size_t>(end - begin), now.bytes,
                        static_cast<size_t>(begin), static_cast<size_t>(end - begin));
        }
        begin = end;
      }
    }

    void Add(int64_t folder, const std::string& path, Tree* tree) const {
      const auto names = names_.find(folder);
      if (names == names_.end()) return;
      for (const auto& [name, node] : names->second) {
        if (folders_.contains(node)) {
          tree->folders.insert(path + name);
          Add(node, path + name + "/", tree);
        } else {
          const auto bytes = bytes_.find(node);
          tree->files[path + name] = bytes == bytes_.end() ? "" : bytes->second;
        }
      }
    }

    const std::vector<Operation> operations_;
    const uint64_t seed_;
    const double kept_;
    std::map<int64_t, size_t> synced_;              // the last Sync of a file or folder
    std::set<std::pair<int64_t, int64_t>> frozen_;  // sectors of a file that have their last bytes
    std::set<int64_t> folders_;
    std::map<int64_t, std::map<std::string, int64_t>> names_;
    std::map<int64_t, std::string> bytes_;
  };

  // What tells of clocks would make a seed mean another state.
  static bool IsTold(const std::string& path) {
    return path.find("status.json") != path.npos || path.find("/.watch") != path.npos;
  }
  bool PassesOver() {
    if (passes_over_ != std::this_thread::get_id()) return false;
    passes_over_ = std::thread::id();
    return true;
  }
  bool IsOurs(const std::string& path) const { return path.starts_with(root_ + "/"); }
  static std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
  static std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  int64_t Node(const struct stat& info, bool is_new) {
    const std::pair key(info.st_dev, info.st_ino);
    if (is_new || !nodes_.contains(key)) nodes_[key] = next_node_++;
    return nodes_[key];
  }
  int64_t Node(const std::string& path, bool is_new = false) {
    struct stat info;
    return lstat(path.c_str(), &info) == 0 ? Node(info, is_new) : -1;
  }
  // -1: another's.
  int64_t NodeOf(int file) const {
    struct stat info;
    if (fstat(file, &info) != 0) return -1;
    const auto node = nodes_.find({info.st_dev, info.st_ino});
    return node == nodes_.end() ? -1 : node->second;
  }
  void Appears(const std::string& path, bool is_folder) {
    if (!IsOurs(path) || IsTold(path)) return;
    const int64_t node = Node(path, true);
    operations_.push_back({.kind = Operation::kAppear,
                           .node = Node(FolderOf(path)),
                           .other = node,
                           .name = NameOf(path),
                           .to = "",
                           .is_folder = is_folder});
  }
  int Removes(const std::string& path, int64_t node, int done) {
    if (done != 0 || !IsOurs(path) || IsTold(path)) return done;
    operations_.push_back({.kind = Operation::kRemove,
                           .node = Node(FolderOf(path)),
                           .other = node,
                           .name = NameOf(path),
                           .to = ""});
    return done;
  }
  void Writes(int file, std::string_view bytes, int64_t offset) {
    if (const int64_t node = NodeOf(file); node >= 0)
      operations_.push_back({.kind = Operation::kWrite,
                             .node = node,
                             .name = "",
                             .to = "",
                             .offset = offset,
                             .bytes = std::string(bytes)});
  }

  const std::string root_;
  mutable std::mutex mutex_;
  std::map<std::pair<dev_t, ino_t>, int64_t> nodes_;
  int64_t next_node_ = 0;
  std::thread::id passes_over_;  // whose next Sync is of a folder where only such a name changed
  std::vector<Operation> operations_;
};

}  // namespace temper
