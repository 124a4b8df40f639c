// Minimum cut by augmenting paths (Edmonds & Karp 1972). Programs are small, and each is derived once.
#include <unroll/autograd/pointwise/cut.hpp>

#include <algorithm>

namespace unroll::detail {

int recompute_cost(Opcode op) {
    switch (op) {
    case Opcode::constant: return 0;
    case Opcode::div:
    case Opcode::reciprocal:
    case Opcode::sqrt:
    case Opcode::rsqrt: return 12;
    case Opcode::exp:
    case Opcode::expm1:
    case Opcode::log:
    case Opcode::log1p:
    case Opcode::sin:
    case Opcode::cos:
    case Opcode::tanh:
    case Opcode::sigmoid:
    case Opcode::softplus:
    case Opcode::erf:
    case Opcode::pow: return 30;
    default: return 1;
    }
}

namespace {

// The network: value v is the edge in(v) -> out(v), cut if v is kept. in(v) on the far side means that v is computed
// again, which costs the edge from the source and asks for its operands: out(u) -> in(v) can never be cut. What is
// needed hangs on the sink.
class Network {
public:
    explicit Network(int nodes) : first_(static_cast<std::size_t>(nodes), -1) {}

    void connect(int from, int to, int capacity) {
        edges_.push_back({to, first_[at(from)], capacity});
        first_[at(from)] = static_cast<int>(edges_.size()) - 1;
        edges_.push_back({from, first_[at(to)], 0});
        first_[at(to)] = static_cast<int>(edges_.size()) - 1;
    }

    void saturate(int source, int sink) {
        std::vector<int> entered(first_.size());  // the edge by which a node was reached
        while (true) {
            std::fill(entered.begin(), entered.end(), -1);
            std::vector<int> queue = {source};
            for (std::size_t i = 0; i < queue.size() && entered[at(sink)] < 0; ++i) {
                for (int e = first_[at(queue[i])]; e >= 0; e = edges_[at(e)].next) {
                    const int to = edges_[at(e)].to;
                    if (edges_[at(e)].capacity == 0 || to == source || entered[at(to)] >= 0) continue;
                    entered[at(to)] = e;
                    queue.push_back(to);
                }
            }
            if (entered[at(sink)] < 0) return;
            int flow = kNever;
            for (int v = sink; v != source; v = origin(entered[at(v)]))
                flow = std::min(flow, edges_[at(entered[at(v)])].capacity);
            for (int v = sink; v != source; v = origin(entered[at(v)])) {
                edges_[at(entered[at(v)])].capacity -= flow;
                edges_[at(entered[at(v)] ^ 1)].capacity += flow;
            }
        }
    }

    // Nodes from which the sink can still be reached: the far side of the cut nearest to it.
    std::vector<bool> far_side(int sink) const {
        std::vector<bool> far(first_.size(), false);
        far[at(sink)] = true;
        std::vector<int> queue = {sink};
        for (std::size_t i = 0; i < queue.size(); ++i) {
            for (int e = first_[at(queue[i])]; e >= 0; e = edges_[at(e)].next) {
                const int from = edges_[at(e)].to;
                if (edges_[at(e ^ 1)].capacity == 0 || far[at(from)]) continue;
                far[at(from)] = true;
                queue.push_back(from);
            }
        }
        return far;
    }

private:
    struct Edge {
        int to, next, capacity;
    };

    static std::size_t at(int i) { return static_cast<std::size_t>(i); }
    int origin(int edge) const { return edges_[at(edge ^ 1)].to; }

    std::vector<int> first_;   // of each node: its first edge
    std::vector<Edge> edges_;  // edge e ^ 1 is edge e backwards
};

}  // namespace

std::vector<int> cheapest_to_keep(std::span<const Keepable> values) {
    const int n = static_cast<int>(values.size());
    const int source = 2 * n, sink = 2 * n + 1;
    const auto in = [](int v) { return 2 * v; };
    const auto out = [](int v) { return 2 * v + 1; };
    Network network(2 * n + 2);
    for (int v = 0; v < n; ++v) {
        const Keepable& value = values[static_cast<std::size_t>(v)];
        network.connect(source, in(v), value.recompute_cost);
        network.connect(in(v), out(v), value.keep_cost);
        for (const int u : value.operands) network.connect(out(u), in(v), kNever);
        if (value.needed) network.connect(out(v), sink, kNever);
    }
    network.saturate(source, sink);
    const std::vector<bool> far = network.far_side(sink);
    std::vector<int> kept;
    for (int v = 0; v < n; ++v) {
        if (!far[static_cast<std::size_t>(in(v))] && far[static_cast<std::size_t>(out(v))]) kept.push_back(v);
    }
    return kept;
}

}  // namespace unroll::detail
