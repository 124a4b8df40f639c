// Laying a chart out.
#include <unroll/autograd/error.hpp>
#include <unroll/data/number_text.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/train/detail/axis.hpp>
#include <unroll/train/detail/svg.hpp>
#include <unroll/train/line_chart.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>

namespace unroll {
namespace {

using detail::Axis;
using detail::Frame;
using detail::Point;

constexpr std::size_t kMostDirectLabels = 6;
constexpr double kFontSize = 13;
constexpr double kLabelGap = 18;  // pixels between two labels

struct Range {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();

    void take(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
    bool empty() const { return low > high; }
};

bool can_show(double value, bool log) { return std::isfinite(value) && (!log || value > 0); }

// Mean of each value and its neighbours on both sides, weighed by smoothing^distance: a one-sided mean would lag behind
// a falling loss. Values that are not finite have no weight and stay gaps.
std::vector<double> smoothed(const std::vector<double>& y, double smoothing) {
    std::vector<double> sums(y.size(), 0.0);
    std::vector<double> weights(y.size(), 0.0);
    double sum = 0;
    double weight = 0;
    const auto pass = [&](std::size_t i, bool with_itself) {
        const bool counts = std::isfinite(y[i]);
        const double before = sum * smoothing;
        const double weight_before = weight * smoothing;
        sum = before + (counts ? y[i] : 0);
        weight = weight_before + (counts ? 1 : 0);
        sums[i] += with_itself ? sum : before;
        weights[i] += with_itself ? weight : weight_before;
    };
    for (std::size_t i = 0; i < y.size(); ++i) pass(i, true);
    sum = weight = 0;
    for (std::size_t i = y.size(); i-- > 0;) pass(i, false);
    std::vector<double> means(y.size(), NAN);
    for (std::size_t i = 0; i < y.size(); ++i)
        if (std::isfinite(y[i])) means[i] = sums[i] / weights[i];
    return means;
}

// Four digits.
std::string value_text(double value) {
    const double size = std::abs(value);
    if (value == 0 || (size < 1000 && size >= 0.01))
        return fmt::format("{:.{}f}", value, size < 10 ? 3 : size < 100 ? 2 : 1);
    return size < 1 ? fmt::format("{:.3g}", value) : compact_number(value);
}

std::string hue_class(char kind, std::size_t series) { return fmt::format("{}{}", kind, series % detail::hue_count()); }

// Colours come again after the last one, on dashed lines.
std::string line_class(std::size_t series) {
    return "line " + hue_class('c', series) + (series < detail::hue_count() ? "" : " dashed");
}

std::string label_text(const std::string& name, const std::string& value) {
    return name.empty() ? value : name + " " + value;
}

// What stands at the end of a line.
struct Label {
    std::string name;
    std::string value;
    std::string text_class;
    std::string line_class;
    Point end;  // of the line
    double y;   // of the text
};

// Moves labels apart, within the frame.
void spread(std::vector<Label>& labels, const Frame& frame) {
    std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
    for (std::size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + kLabelGap);
    double limit = frame.bottom;
    for (std::size_t i = labels.size(); i-- > 0;) {
        labels[i].y = std::min(labels[i].y, limit);
        limit = labels[i].y - kLabelGap;
    }
}

struct LegendEntry {
    Point at;
    std::size_t series;
};

// Rows of entries from the left, as many as fit into a row.
std::vector<LegendEntry> legend_entries(const std::vector<Series>& series, double top, double width) {
    std::vector<LegendEntry> entries;
    Point at{16, top};
    for (std::size_t i = 0; i < series.size(); ++i) {
        const double wide = 28 + detail::text_width(series[i].name, kFontSize) + 18;
        if (at.x > 16 && at.x + wide > width) at = {16, at.y + 20};
        entries.push_back({at, i});
        at.x += wide;
    }
    return entries;
}

// A line as it is drawn, and where it ends.
struct Curve {
    std::vector<double> main;  // y of the line itself
    std::optional<std::size_t> last;
};

class Picture {
public:
    Picture(const ChartOptions& options, const std::vector<Series>& series) : options_(options), series_(series) {
        for (const Series& one : series) {
            Curve curve{one.y, std::nullopt};
            for (std::size_t i = 0; i < one.x.size(); ++i) {
                if (!can_show(one.x[i], options.log_x) || !can_show(one.y[i], options.log_y)) {
                    curve.main[i] = NAN;
                    continue;
                }
                x_range_.take(one.x[i]);
                y_range_.take(one.y[i]);
                curve.last = i;
            }
            if (one.smoothing > 0) curve.main = smoothed(curve.main, one.smoothing);
            curves_.push_back(std::move(curve));
        }
    }

    bool empty() const { return x_range_.empty(); }
    void include_level(double y) { y_range_.take(y); }

    void draw_head();
    void draw_nothing();
    void draw_axes(double right_margin);
    void draw_series();
    void add_level(const std::string& name, double y);
    void draw_labels(bool of_series);
    double label_margin(const std::vector<std::string>& level_texts, bool of_series) const;
    std::string finished() const;

private:
    Point place(double x, double y) const {
        const double across = x_axis_->position(x);
        const double up = y_axis_->position(y);
        if (std::isnan(across) || std::isnan(up)) return {NAN, NAN};
        return {frame_.left + across * (frame_.right - frame_.left), frame_.bottom - up * (frame_.bottom - frame_.top)};
    }
    std::vector<Point> place_all(const std::vector<double>& x, const std::vector<double>& y) const {
        std::vector<Point> points(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) points[i] = place(x[i], y[i]);
        return points;
    }

    const ChartOptions& options_;
    const std::vector<Series>& series_;
    std::vector<Curve> curves_;
    Range x_range_, y_range_;
    Frame frame_{16, 16, 0, 0};
    std::optional<Axis> x_axis_, y_axis_;
    std::vector<Label> labels_;
    std::string body_;
};

// Title, subtitle, legend and the name of the y axis, from the top down.
void Picture::draw_head() {
    double y = 12;
    if (!options_.title.empty()) detail::put_text(body_, {16, y += 20}, "ink title", "start", options_.title);
    if (!options_.subtitle.empty()) detail::put_text(body_, {16, y += 20}, "soft", "start", options_.subtitle);
    if (options_.legend || series_.size() > kMostDirectLabels) {
        for (const LegendEntry& entry : legend_entries(series_, y + 24, options_.width - 16)) {
            y = entry.at.y;
            detail::put_line(body_, {entry.at.x + 1, y - 4}, {entry.at.x + 19, y - 4}, line_class(entry.series));
            detail::put_text(body_, {entry.at.x + 28, y}, "ink", "start", series_[entry.series].name);
        }
    }
    if (!options_.y_label.empty() && !empty())
        detail::put_text(body_, {16, y += 26}, "soft", "start", options_.y_label);
    frame_.top = y + 18;
    frame_.bottom = options_.height - (options_.x_label.empty() ? 34 : 54);
}

void Picture::draw_nothing() {
    detail::put_text(body_, {options_.width / 2.0, options_.height / 2.0}, "soft", "middle", "no values yet");
}

double Picture::label_margin(const std::vector<std::string>& level_texts, bool of_series) const {
    double widest = 0;
    for (const std::string& text : level_texts) widest = std::max(widest, detail::text_width(text, kFontSize));
    for (std::size_t i = 0; of_series && i < series_.size(); ++i) {
        if (!curves_[i].last) continue;
        const std::string text = label_text(series_[i].name, value_text(curves_[i].main[*curves_[i].last]));
        widest = std::max(widest, detail::text_width(text, kFontSize));
    }
    return std::min(widest > 0 ? widest + 26 : 24, 0.4 * options_.width);
}

void Picture::draw_axes(double right_margin) {
    frame_.bottom = std::max(frame_.bottom, frame_.top + 20);
    const double height = frame_.bottom - frame_.top;
    y_axis_.emplace(y_range_.low, y_range_.high,
                    detail::AxisOptions{options_.log_y, true, std::max(2, static_cast<int>(height / 52))});
    double widest = 0;
    for (const detail::Tick& tick : y_axis_->ticks())
        widest = std::max(widest, detail::text_width(tick.label, kFontSize));
    frame_.left = std::max(40.0, widest + 26);
    frame_.right = std::max(options_.width - right_margin, frame_.left + 20);
    const double width = frame_.right - frame_.left;
    x_axis_.emplace(x_range_.low, x_range_.high,
                    detail::AxisOptions{options_.log_x, false, std::max(2, static_cast<int>(width / 90))});
    for (const detail::Tick& tick : y_axis_->ticks()) {
        const double y = frame_.bottom - y_axis_->position(tick.value) * height;
        detail::put_line(body_, {frame_.left, y}, {frame_.right, y}, "grid");
        detail::put_text(body_, {frame_.left - 10, y + 4.5}, "soft", "end", tick.label);
    }
    detail::put_line(body_, {frame_.left, frame_.bottom}, {frame_.right, frame_.bottom}, "base");
    for (const detail::Tick& tick : x_axis_->ticks()) {
        const double x = frame_.left + x_axis_->position(tick.value) * width;
        detail::put_line(body_, {x, frame_.bottom}, {x, frame_.bottom + 5}, "base");
        detail::put_text(body_, {x, frame_.bottom + 21}, "soft", "middle", tick.label);
    }
    detail::put_text(body_, {(frame_.left + frame_.right) / 2, frame_.bottom + 43}, "soft", "middle", options_.x_label);
}

// Faint values first, so that no line is hidden behind them.
void Picture::draw_series() {
    for (std::size_t i = 0; i < series_.size(); ++i)
        if (series_[i].smoothing > 0)
            detail::put_path(body_, place_all(series_[i].x, series_[i].y), "behind " + hue_class('c', i));
    for (std::size_t i = 0; i < series_.size(); ++i) {
        const std::vector<Point> points = place_all(series_[i].x, curves_[i].main);
        detail::put_path(body_, points, line_class(i));
        for (std::size_t k = 0; series_[i].points && k < points.size(); ++k)
            if (!std::isnan(points[k].x))
                fmt::format_to(
                    std::back_inserter(body_),
                    "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" class=\"dot {}\"><title>{}</title></circle>\n",
                    points[k].x, points[k].y, hue_class('t', i),
                    detail::escaped(
                        fmt::format("{} {}: {}", options_.x_label, series_[i].x[k], value_text(curves_[i].main[k]))));
        if (const auto last = curves_[i].last)
            labels_.push_back({series_[i].name, value_text(curves_[i].main[*last]), hue_class('t', i) + " strong",
                               hue_class('c', i), points[*last], points[*last].y});
    }
}

void Picture::add_level(const std::string& name, double y) {
    const Point end = place(x_range_.high, y);
    detail::put_line(body_, {frame_.left, end.y}, {frame_.right, end.y}, "level");
    labels_.push_back({name, value_text(y), "soft", "level", end, end.y});
}

void Picture::draw_labels(bool of_series) {
    if (!of_series) std::erase_if(labels_, [](const Label& label) { return label.text_class != "soft"; });
    spread(labels_, frame_);
    for (const Label& label : labels_) {
        const double x = frame_.right + 14;
        // A thin line leads from the end of a curve to a label that stands away from it.
        if (x - label.end.x > 30 || std::abs(label.y - label.end.y) > 9)
            detail::put_line(body_, {label.end.x + 6, label.end.y}, {x - 4, label.y}, "leader " + label.line_class);
        // Where there is too little room the name is cut, never the value.
        const double room = options_.width - x - 4 - detail::text_width(" " + label.value, kFontSize);
        detail::put_text(body_, {x, label.y + 4.5}, label.text_class, "start",
                         label_text(detail::fitted(label.name, kFontSize, room), label.value));
    }
}

std::string Picture::finished() const {
    std::string about = fmt::format("{} line{}", series_.size(), series_.size() == 1 ? "" : "s");
    for (std::size_t i = 0; i < series_.size(); ++i)
        if (const auto last = curves_[i].last)
            about += fmt::format("; {} ends at {}", series_[i].name, value_text(curves_[i].main[*last]));
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n"
        "<title>{2}</title>\n<desc>{3}</desc>\n<style>{4}</style>\n"
        "<rect class=\"paper\" width=\"{0}\" height=\"{1}\"/>\n{5}</svg>\n",
        options_.width, options_.height, detail::escaped(options_.title), detail::escaped(about), detail::style_sheet(),
        body_);
}

}  // namespace

LineChart::LineChart(ChartOptions options) : options_(std::move(options)) {
    const auto check = [](std::string_view name, int value, int low) {
        if (value < low || value > 10000)
            detail::fail_value("LineChart", fmt::format("{} must be {} to 10000 pixels, not {}", name, low, value));
    };
    check("width", options_.width, 240);
    check("height", options_.height, 160);
}

LineChart& LineChart::add(Series series) {
    if (series.x.size() != series.y.size())
        detail::fail_value("LineChart", fmt::format("the series '{}' has {} x and {} y", series.name, series.x.size(),
                                                    series.y.size()));
    if (!(series.smoothing >= 0 && series.smoothing < 1))
        detail::fail_value("LineChart", fmt::format("smoothing must be in [0, 1), not {}", series.smoothing));
    series_.push_back(std::move(series));
    return *this;
}

LineChart& LineChart::add_level(std::string name, double y) {
    levels_.push_back({std::move(name), y});
    return *this;
}

std::string LineChart::to_svg() const {
    Picture picture(options_, series_);
    picture.draw_head();
    if (picture.empty()) {
        picture.draw_nothing();
        return picture.finished();
    }
    std::vector<Level> levels;
    std::vector<std::string> level_texts;
    for (const Level& level : levels_) {
        if (!can_show(level.y, options_.log_y)) continue;
        picture.include_level(level.y);
        levels.push_back(level);
        level_texts.push_back(label_text(level.name, value_text(level.y)));
    }
    const bool direct = series_.size() <= kMostDirectLabels;
    picture.draw_axes(picture.label_margin(level_texts, direct));
    for (const Level& level : levels) picture.add_level(level.name, level.y);
    picture.draw_series();
    picture.draw_labels(direct);
    return picture.finished();
}

void LineChart::save(const std::filesystem::path& path) const { write_file_atomically(path, to_svg()); }

}  // namespace unroll
