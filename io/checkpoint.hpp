// Model files and checkpoints: StateDicts in safetensors files that say what they are and in which version of the format.
//
// A model file is all that is needed to use a model:
//
//     StateDict model = state_dict(store);
//     model.put_json("options", options_to_json(options));
//     model.put_json("vocabulary", vocabulary.to_json());
//     save_model("model.safetensors", model);
//
// A checkpoint is all that training needs to go on as if it had never stopped:
//
//     StateDict all;
//     all.add("model", state_dict(store));
//     all.add("optimizer", optimizer.state_dict());
//     all.put_json("data", batcher.state());
//     all.put_scalar("best_loss", best_loss);
//     save_checkpoint("checkpoint.safetensors", all, {.keep = 2});
//
//     const StateDict all = load_checkpoint("checkpoint.safetensors");
//     load_state_dict(store, all.sub("model"), kResume);
#pragma once

#include <unroll/io/safetensors.hpp>

#include <filesystem>
#include <string_view>

namespace unroll {

/// Writes a model file, whole or not at all: parameters under their own names (as PyTorch has them), JSON entries in the
/// metadata. @throws IoError as write_safetensors; ValueError if an entry is called "unroll"
void save_model(const std::filesystem::path& path, const StateDict& model);
/// What save_model wrote. @throws IoError as read_safetensors, for a file that is no model file of a known version (weights
/// of another program are read by read_safetensors), or for tensors or metadata with another checksum than was written
StateDict load_model(const std::filesystem::path& path);

struct CheckpointOptions {
    /// Files kept, ≥ 1. The one before "run.safetensors" becomes "run.1.safetensors", that "run.2.safetensors", …, and what
    /// is numbered keep or more is removed. With 1 the file is simply replaced, and no other is touched.
    Index keep = 1;
};

/// Writes a checkpoint, whole or not at all. Earlier ones move on only once the bytes of the new one are safely on the disk,
/// and `path` holds a whole checkpoint at any moment. @throws as save_model; ValueError if keep < 1
void save_checkpoint(const std::filesystem::path& path, const StateDict& state, const CheckpointOptions& options = {});
/// What save_checkpoint wrote. @throws IoError as load_model
StateDict load_checkpoint(const std::filesystem::path& path);

/// What a file says it is: "model", "checkpoint", or "" for any other safetensors file.
std::string_view kind_of(const SafetensorsInfo& info);

}  // namespace unroll
