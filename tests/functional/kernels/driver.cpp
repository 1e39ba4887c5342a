// Runs every kernel over random and edge inputs, for the sanitizers; measures exp, log, tanh and erfcx against libm.

#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "convolution.cpp"
#include "mixture.cpp"
#include "polynomial.cpp"
#include "rational_quadratic.cpp"

using namespace bijecta;

static int failures = 0;
static std::mt19937_64 generator(0);

template <class T> std::vector<T> normal(size_t count, double spread) {
    std::normal_distribution<double> draw(0, spread);
    std::vector<T> values(count);
    for (T& value : values) value = T(draw(generator));
    return values;
}

template <class T> void put_edges_in(std::vector<T>& x, T bound) {
    const T inf = std::numeric_limits<T>::infinity();
    const T edges[] = {0, bound, -bound, std::nextafter(bound, inf), std::nextafter(bound, T(0)), T(1e30), inf, -inf,
                       std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::denorm_min()};
    for (size_t i = 0; i < x.size(); i += 3) x[i] = edges[i / 3 % 10];
}

// All buffers have exactly the size that the kernel may touch.
template <template <class, int> class Kernel, class T>
void run(size_t parameters, int64_t count, int64_t bins, bool circular, bool inverse, double spread, int64_t columns) {
    std::vector<T> x = normal<T>(size_t(count), 4), params = normal<T>(size_t(count) * parameters, spread);
    put_edges_in<T>(x, 5);
    std::vector<T> bounds(size_t(columns), T(5)), y(x), ladj(x), g_x(x), g_params(params);
    std::vector<uint8_t> circulars(static_cast<size_t>(columns), 0);
    for (size_t c = 0; c < circulars.size(); c += 2) circulars[c] = circular;
    const std::vector<T> g_y = normal<T>(x.size(), 1), g_ladj = normal<T>(x.size(), 1);
    const bool each = columns > 1;
    const Spline spline{count, bins, columns, each ? bounds.data() : nullptr, each ? circulars.data() : nullptr,
                        5.0, 1e-3, 1e-3, circular, circular, inverse, 2};
    map_all<Kernel, T, 4, 8>(spline, x.data(), params.data(), y.data(), ladj.data());
    differentiate_all<Kernel, T, 4, 8>(spline, x.data(), params.data(), {g_y.data(), g_ladj.data(), g_x.data(), g_params.data()});
    differentiate_all<Kernel, T, 4, 8>(spline, x.data(), params.data(), {nullptr, g_ladj.data(), g_x.data(), g_params.data()});
    for (size_t i = 0; i < x.size(); ++i) {
        const bool lost = circular && std::isinf(x[i]);
        if (std::isnan(y[i]) != (std::isnan(x[i]) || (lost && (!each || i % size_t(columns) % 2 == 0)))) ++failures;
    }
}

template <class T> void mix(int64_t count, int64_t rows, int64_t components, bool logistic, bool inverse, double spread) {
    const size_t parameters = size_t(3 * components + logistic);
    std::vector<T> x = normal<T>(size_t(count), 20), params = normal<T>(size_t(rows) * parameters, spread);
    put_edges_in<T>(x, 50);
    const int64_t batch = 32, each = rows ? count / rows : 0, parts = rows < count ? (each + batch - 1) / batch : 1;
    std::vector<T> y(x), ladj(x), g_x(x), g_params(params.size() * size_t(parts));
    const std::vector<T> g_y = normal<T>(x.size(), 1), g_ladj = normal<T>(x.size(), 1);
    const mixtures::Mixture m{count, rows, components, batch, logistic ? 5.0 : 50.0, 4.0, 1e-3, logistic, inverse, 2};
    if (mixtures::map_any<T>(m, x.data(), params.data(), y.data(), ladj.data())) ++failures;
    mixtures::differentiate_any<T>(m, x.data(), params.data(), {g_y.data(), g_ladj.data()}, g_x.data(), g_params.data());
    mixtures::differentiate_any<T>(m, x.data(), params.data(), {nullptr, g_ladj.data()}, g_x.data(), g_params.data());
    for (size_t i = 0; i < x.size(); ++i) {
        if (std::isnan(y[i]) != std::isnan(x[i])) ++failures;
    }
}

template <class T> void mix_all() {
    for (int64_t components : {1, 2, 3, 8, 17})
        for (int64_t count : {0, 3, 15, 16, 51, 600})
            for (bool logistic : {false, true})
                for (bool inverse : {false, true}) {
                    mix<T>(count, count, components, logistic, inverse, 1);
                    mix<T>(count, count, components, logistic, inverse, 5);
                    if (count % 3 == 0) mix<T>(count, count / 3 ? 3 : 0, components, logistic, inverse, 1);
                }
}

template <class T> void run_all() {
    for (int64_t bins : {1, 2, 3, 4, 5, 8, 16, 33})
        for (int64_t count : {0, 1, 3, 15, 16, 17, 100, 5000})
            for (bool inverse : {false, true})
                for (int64_t columns : {1, 3}) {
                    const double spread = columns == 1 ? 1 : 1e4;
                    const size_t K = size_t(bins);
                    run<Kernel, T>(3 * K - 1, count, bins, false, inverse, spread, columns);
                    run<Kernel, T>(3 * K, count, bins, true, inverse, spread, columns);
                    run<Linear, T>(K, count, bins, false, inverse, spread, columns);
                    run<Quadratic, T>(2 * K - 1, count, bins, false, inverse, spread, columns);
                    run<Cubic, T>(2 * K + 2, count, bins, false, inverse, spread, columns);
                }
}

template <class T> void run_convolutions(const ConvNet& net) {
    const int64_t sizes[] = {net.hidden * net.channels * 9, net.hidden, net.hidden * net.hidden, net.hidden,
                             net.outputs * net.hidden * 9, net.outputs};
    const int64_t pixels = net.images * net.height * net.width;
    std::vector<std::vector<T>> weights;
    std::vector<const T*> given;
    for (int64_t size : sizes) weights.push_back(normal<T>(size_t(size), 1));
    for (const auto& weight : weights) given.push_back(weight.data());
    const int64_t total = sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5];
    std::vector<T> x = normal<T>(size_t(pixels * net.channels), 1), y(size_t(pixels * net.outputs)), g_x(x);
    std::vector<T> g_weights(static_cast<size_t>(total));
    const std::vector<T> added = normal<T>(size_t(net.added * net.hidden * net.height * net.width), 1);
    std::vector<T> g_added(added);
    const T* more = net.added ? added.data() : nullptr;
    map<T>(net, given.data(), x.data(), more, y.data());
    differentiate<T>(net, given.data(), x.data(), more, y.data(), g_x.data(), more ? g_added.data() : nullptr, g_weights.data());
    for (T value : y) failures += !std::isfinite(value);
    for (T value : g_weights) failures += !std::isfinite(value);
}

template <class T> void run_all_convolutions() {
    for (int64_t images : {0, 1, 3, 40})
        for (int64_t threads : {1, 3}) {
            for (int64_t added : {int64_t(0), int64_t(1), images}) {
                run_convolutions<T>({images, 2, 13, 4, 14, 14, threads, added});
                run_convolutions<T>({images, 1, 4, 15, 1, 6, threads, added});
                run_convolutions<T>({images, 3, 7, 1, 30, 41, threads, added});
            }
        }
}

template <class T, class Function, class Exact>
void compare(const char* name, double low, double high, Function function, Exact exact, double bar) {
    std::uniform_real_distribution<double> draw(low, high);
    double worst = 0;
    for (int i = 0; i < 20000; ++i) {
        const T x = T(draw(generator));
        const long double expected = exact(static_cast<long double>(x));
        const T unit = std::nextafter(std::fabs(T(expected)), std::numeric_limits<T>::infinity()) - std::fabs(T(expected));
        const double error = double(std::fabs(static_cast<long double>(function(splat<T>(x))[0]) - expected) / unit);
        worst = error > worst ? error : worst;
    }
    std::printf("%-28s %d bytes, on [%g, %g]: %.2f units in the last place\n", name, int(sizeof(T)), low, high, worst);
    if (!(worst <= bar)) ++failures;
}

template <class T> void check(bool holds, const char* what) {
    if (!holds) std::printf("%d bytes: %s\n", int(sizeof(T)), what), ++failures;
}

template <class T> void measure() {
    using std::log, std::exp, std::tanh;
    const auto own_exp = [](Vec<T> v) { return bijecta::exp<T>(v); };
    const auto own_log = [](Vec<T> v) { return bijecta::log<T>(v); };
    const auto own_tanh = [](Vec<T> v) { return bijecta::tanh<T>(v).value; };
    const auto own_slope = [](Vec<T> v) { return bijecta::tanh<T>(v).derivative; };
    const auto own_erfcx = [](Vec<T> v) { return bijecta::erfcx<T>(v); };
    const auto l_erfcx = [](long double v) { return exp(v * v) * std::erfc(v); };
    const auto l_exp = [](long double v) { return exp(v); };
    const auto l_log = [](long double v) { return log(v); };
    const auto l_tanh = [](long double v) { return tanh(v); };
    const auto l_slope = [](long double v) { return 1 / (std::cosh(v) * std::cosh(v)); };
    compare<T>("exp", -80, 80, own_exp, l_exp, 2);
    compare<T>("exp", -1e-3, 1e-3, own_exp, l_exp, 2);
    compare<T>("log", 1e-6, 3, own_log, l_log, 2);
    compare<T>("log", 0.999, 1.001, own_log, l_log, 2);
    compare<T>("log", 1e-30, 1e30, own_log, l_log, 2);
    compare<T>("tanh", -2, 2, own_tanh, l_tanh, 3);
    compare<T>("tanh", -1e-3, 1e-3, own_tanh, l_tanh, 3);
    compare<T>("erfcx", 0, 3, own_erfcx, l_erfcx, 6);
    compare<T>("erfcx", 3, 20, own_erfcx, l_erfcx, 6);
    compare<T>("derivative of tanh", -20, 20, own_slope, l_slope, 5);
    const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    check<T>(own_exp(splat<T>(-inf))[0] == 0 && own_exp(splat<T>(inf))[0] == inf, "exp of infinity");
    check<T>(own_log(splat<T>(0))[0] == -inf && own_log(splat<T>(inf))[0] == inf, "log of 0 and infinity");
    check<T>(std::isnan(own_log(splat<T>(-1))[0]), "log below 0");
    check<T>(std::fabs(own_log(splat<T>(std::numeric_limits<T>::denorm_min()))[0] -
                       T(l_log(std::numeric_limits<T>::denorm_min()))) < 1e-4, "log of the smallest number");
    check<T>(own_tanh(splat<T>(inf))[0] == 1 && own_tanh(splat<T>(-inf))[0] == -1, "tanh of infinity");
    for (const auto& value : {own_exp(splat<T>(nan)), own_log(splat<T>(nan)), own_tanh(splat<T>(nan))})
        check<T>(std::isnan(value[0]), "NaN");
}

int main() {
    measure<float>();
    measure<double>();
    run_all<float>();
    run_all<double>();
    mix_all<float>();
    mix_all<double>();
    run_all_convolutions<float>();
    run_all_convolutions<double>();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
