// Profiles: events of all threads, added up or as a trace.
#include <unroll/autograd/profile.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

namespace unroll {
namespace {

// Held wherever a Profile and what it holds is looked at, so that none falls while another thread writes to it.
constinit std::mutex events_mutex;

/// As JSON has it between quotes.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\')
            out += {'\\', c};
        else if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<int>(c));
        else
            out += c;
    }
    return out;
}

}  // namespace

struct Profile::Events {
    struct Event {
        std::string_view phase, op;  // names are literals or live as long as the process
        detail::Place place;
        std::chrono::steady_clock::time_point start, end;
        std::thread::id thread;
    };
    std::vector<Event> all;
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
};

Profile::Profile() : events_(std::make_unique<Events>()) {
    Profile* none = nullptr;
    if (!ProfileSpan::current_.compare_exchange_strong(none, this))
        throw UsageError("[Profile] another Profile stands already");
}

Profile::~Profile() {
    std::lock_guard lock(events_mutex);
    ProfileSpan::current_.store(nullptr, std::memory_order_release);
}

constinit std::atomic<Profile*> ProfileSpan::current_{nullptr};

void ProfileSpan::record(std::string_view phase, std::string_view op, detail::Place place, Time start) noexcept {
    const Time end = now();
    std::lock_guard lock(events_mutex);
    Profile* profile = current_.load(std::memory_order_acquire);
    if (!profile) return;
    profile->events_->all.push_back({phase, op, place, start, end, std::this_thread::get_id()});
}

std::vector<ProfileEntry> Profile::entries() const {
    std::lock_guard lock(events_mutex);
    std::map<std::tuple<std::string_view, std::string_view, std::string_view>, ProfileEntry> sums;
    // Events stand in the order in which they ended. So what an event encloses are the last of its thread that nothing
    // has enclosed yet, back to its own start; their time is theirs alone.
    std::map<std::thread::id, std::vector<const Events::Event*>> outermost;
    for (const Events::Event& e : events_->all) {
        auto own = e.end - e.start;
        std::vector<const Events::Event*>& before = outermost[e.thread];
        for (; !before.empty() && before.back()->start >= e.start; before.pop_back())
            own -= before.back()->end - before.back()->start;
        before.push_back(&e);
        ProfileEntry& entry = sums[{e.phase, detail::path_of(e.place.module), e.op}];
        ++entry.calls;
        entry.seconds += std::chrono::duration<double>(own).count();
    }
    std::vector<ProfileEntry> list;
    for (auto& [key, entry] : sums) {
        entry.phase = std::get<0>(key);
        entry.module = std::get<1>(key);
        entry.op = std::get<2>(key);
        list.push_back(entry);
    }
    std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    return list;
}

std::string Profile::table() const {
    const std::vector<ProfileEntry> list = entries();
    double total = 0;
    std::size_t wide_module = 6, wide_op = 2, wide_phase = 5;
    for (const ProfileEntry& e : list) {
        total += e.seconds;
        wide_module = std::max(wide_module, e.module.size());
        wide_op = std::max(wide_op, e.op.size());
        wide_phase = std::max(wide_phase, e.phase.size());
    }
    std::string text = fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>9}  {:>10}  {:>6}\n", "phase", wide_phase, "module",
                                   wide_module, "op", wide_op, "calls", "ms", "share");
    for (const ProfileEntry& e : list)
        text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>9}  {:>10.3f}  {:>5.1f}%\n", e.phase, wide_phase, e.module,
                            wide_module, e.op, wide_op, e.calls, 1e3 * e.seconds,
                            total > 0 ? 100 * e.seconds / total : 0.0);
    return text;
}

std::string Profile::chrome_trace() const {
    std::lock_guard lock(events_mutex);
    std::map<std::thread::id, int> threads;
    std::string text = "{\"traceEvents\":[";
    bool first = true;
    for (const Events::Event& e : events_->all) {
        const int thread = threads.try_emplace(e.thread, static_cast<int>(threads.size())).first->second;
        const auto microseconds = [&](auto t) { return std::chrono::duration<double, std::micro>(t).count(); };
        text += fmt::format(
            "{}\n{{\"name\":\"{}\",\"cat\":\"{}\",\"ph\":\"X\",\"ts\":{:.3f},\"dur\":{:.3f},\"pid\":0,\"tid\":{},"
            "\"args\":{{\"module\":\"{}\",\"step\":{}}}}}",
            first ? "" : ",", escaped(e.op), escaped(e.phase), microseconds(e.start - events_->begin),
            microseconds(e.end - e.start), thread, escaped(detail::path_of(e.place.module)), e.place.step);
        first = false;
    }
    return text + "\n],\"displayTimeUnit\":\"ms\"}\n";
}

}  // namespace unroll
