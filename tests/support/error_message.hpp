// What an error says, so that tests can hold messages to their words.
#pragma once

#include <unroll/autograd/error.hpp>

#include <string>

namespace unroll::test {

/// The message of the Error that `action` throws; other exceptions pass.
template <class Error, class Action>
std::string error_message(Action action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return "no such error";
}

/// Of files.
template <class Action>
std::string io_error(Action action) {
    return error_message<IoError>(action);
}

}  // namespace unroll::test
