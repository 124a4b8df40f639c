// One side of a comparison, as scripts/bench-peers drives it: a process that is set up by one line of JSON on standard
// input and then runs as many repetitions as each further line asks for. README.md describes the lines.
// This file reads, times and answers. It knows no framework and computes nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <nlohmann/json.hpp>

namespace unroll::peers {

/// What the first line asks for. Sizes as everywhere: L layers, H hidden, B batch, T time steps, I input, V vocabulary.
struct Request {
    std::string mode = "train";
    std::string cell = "lstm";
    std::int64_t hidden = 128, layers = 1, batch = 1, seq_len = 50, input = 64, vocab = 65;
    int threads = 1;
    bool bidirectional = false;
    nlohmann::json options;  // all of the line, for what only one side knows

    explicit Request(const nlohmann::json& line) : options(line) {
        mode = line.value("mode", mode);
        cell = line.value("cell", cell);
        hidden = line.value("hidden", hidden);
        layers = line.value("layers", layers);
        batch = line.value("batch", batch);
        seq_len = line.value("seq_len", seq_len);
        input = line.value("input", input);
        vocab = line.value("vocab", vocab);
        threads = line.value("threads", threads);
        bidirectional = line.value("bidirectional", bidirectional);
        for (const auto size : {hidden, layers, batch, seq_len, input, vocab, std::int64_t{threads}})
            if (size < 1) throw std::runtime_error("every size of a case must be at least 1");
        if (cell != "lstm" && cell != "gru" && cell != "rnn") throw std::runtime_error("unknown cell " + cell);
    }

    std::int64_t directions() const { return bidirectional ? 2 : 1; }
    std::int64_t gates() const { return cell == "lstm" ? 4 : cell == "gru" ? 3 : 1; }
    /// Width of what layer l reads.
    std::int64_t width(std::int64_t l) const { return l == 0 ? input : directions() * hidden; }
};

[[noreturn]] inline void unsupported(const Request& request) {
    throw std::runtime_error("mode " + request.mode + " is not offered by this side");
}

/// What a side does in one repetition.
struct Job {
    std::function<void()> step;    ///< one repetition; this alone is timed
    std::function<double()> loss;  ///< of the repetition just done, outside the timing; may be empty
    /// Norm over the gradients of all weight matrices, so that sides can be seen to compute the same; may be empty.
    std::function<double()> gradient_norm;
    nlohmann::json facts = nlohmann::json::object();  ///< added to the answer of the set-up: flops, units, …
};

/// `count` numbers in (−scale, scale) by the rule of tests/golden: the same bits in every language.
inline std::vector<float> fill(std::uint64_t seed, std::size_t count, double scale) {
    std::vector<float> values(count);
    for (float& value : values) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        value = static_cast<float>(scale * (static_cast<double>(seed >> 33) / 1073741824.0 - 1.0));
    }
    return values;
}

/// `count` tokens below `vocab` that a model can learn something of: with probability 3/4 the next one is
/// (7 · token + 3) mod vocab, otherwise any.
inline std::vector<std::int64_t> tokens(std::uint64_t seed, std::size_t count, std::int64_t vocab) {
    std::vector<std::int64_t> text(count);
    std::int64_t token = 0;
    for (auto& next : text) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const auto draw = static_cast<std::int64_t>(seed >> 33);
        token = draw % 4 != 0 ? (7 * token + 3) % vocab : (draw / 4) % vocab;
        next = token;
    }
    return text;
}

/// Heap allocations and the bytes they asked for, counted by count_allocations.so where it is preloaded.
struct Allocations {
    std::uint64_t count = 0, bytes = 0;
    bool known = false;

    static Allocations now() {
        using Read = void (*)(std::uint64_t*, std::uint64_t*);
        static const auto read = reinterpret_cast<Read>(dlsym(RTLD_DEFAULT, "bench_peers_read_allocations"));
        Allocations result;
        if (read) read(&result.count, &result.bytes);
        result.known = read != nullptr;
        return result;
    }
};

/// Runs `n` repetitions and describes them.
inline nlohmann::json run(const Job& job, int n) {
    std::vector<double> times;
    double loss = 0;
    nlohmann::json answer;
    Allocations used;
    times.reserve(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
        const auto before = Allocations::now();
        const auto start = std::chrono::steady_clock::now();
        job.step();
        times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        const auto after = Allocations::now();
        used.count += after.count - before.count;
        used.bytes += after.bytes - before.bytes;
        used.known = after.known;
        if (job.loss) loss += job.loss() / n;
    }
    answer["times"] = times;
    if (job.loss) answer["loss"] = loss;
    if (job.gradient_norm) answer["gradient_norm"] = job.gradient_norm();
    if (used.known) {
        answer["allocations"] = static_cast<double>(used.count) / n;
        answer["allocated_bytes"] = static_cast<double>(used.bytes) / n;
    }
    return answer;
}

/// The whole life of a side: answers every line until the input ends. Errors become answers, never a crash.
inline int serve(const std::function<Job(const Request&)>& set_up) {
    Job job;
    std::string text;
    while (std::getline(std::cin, text)) {
        if (text.empty()) continue;
        nlohmann::json answer;
        try {
            const auto line = nlohmann::json::parse(text);
            if (line.contains("hello")) {
                answer["hello"] = true;  // libraries are loaded, nothing else has happened yet
            } else if (line.contains("run")) {
                if (!job.step) throw std::runtime_error("not set up yet");
                answer = run(job, line.at("run").get<int>());
            } else {
                job = Job{};
                job = set_up(Request(line));
                answer = job.facts;
                answer["ready"] = true;
            }
        } catch (const std::exception& error) {
            answer = {{"error", error.what()}};
        }
        std::cout << answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
    }
    return 0;
}

}  // namespace unroll::peers
