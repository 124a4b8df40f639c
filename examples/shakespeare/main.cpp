// shakespeare: a recurrent network learns to write like its text, character by character.
//
//     shakespeare train | sample | eval | inspect        (--help tells the options of each)
//
// Exit codes: 0 done, 1 an error or a failed check, 2 wrong use, 130 stopped by Ctrl-C after writing a checkpoint.
#include "evaluate.hpp"
#include "inspect.hpp"
#include "options.hpp"
#include "sample.hpp"
#include "train.hpp"

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/threads.hpp>
#include <unroll/train/terminal.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

namespace {

int say(const char* message, int code) {
    std::fflush(stdout);
    fmt::print(stderr, "shakespeare: {}\n", message);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace shakespeare;
    try {
        const std::optional<Command> command = read_command_line(argc, argv);
        int code = 0;
        if (command) {
            // What the environment asks for is refused, if it is, before anything is done.
            unroll::num_threads();
            unroll::detail::kernels();
            code = std::visit(
                [&](const auto& options) {
                    if constexpr (requires { run(options, std::string()); })
                        return run(options, argv[0]);
                    else
                        return run(options);
                },
                *command);
        }
        unroll::check_output();
        return code;
    } catch (const WrongUse& error) {
        return say(error.what(), 2);
    } catch (const std::bad_alloc&) {
        return say("there is not enough memory: take a smaller network or a smaller batch", 1);
    } catch (const std::exception& error) {
        return say(error.what(), 1);
    }
}
