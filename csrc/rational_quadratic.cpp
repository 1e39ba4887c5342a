// The rational-quadratic spline of many elements; and what the library says of itself.

#include "elements.hpp"
#include "spline.hpp"

BIJECTA_SPLINE(rational_quadratic, Kernel, float, 4, 8, 16)
BIJECTA_SPLINE(rational_quadratic, Kernel, double, 4, 8, 16)

BIJECTA_EXPORT int bijecta_interface() { return 8; }  // raised with every change of the functions above
#if defined(__clang__)
BIJECTA_EXPORT const char* bijecta_build() { return BIJECTA_INSTRUCTIONS ", built with clang " __clang_version__; }
#else
BIJECTA_EXPORT const char* bijecta_build() { return BIJECTA_INSTRUCTIONS ", built with g++ " __VERSION__; }
#endif
