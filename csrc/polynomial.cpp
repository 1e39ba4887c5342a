// The splines of order one, two and three of many elements.

#include "polynomial.hpp"

#include "elements.hpp"

BIJECTA_SPLINE(linear_spline, Linear, float, 8)
BIJECTA_SPLINE(linear_spline, Linear, double, 8)
BIJECTA_SPLINE(quadratic_spline, Quadratic, float, 8)
BIJECTA_SPLINE(quadratic_spline, Quadratic, double, 8)
BIJECTA_SPLINE(cubic_spline, Cubic, float, 8)
BIJECTA_SPLINE(cubic_spline, Cubic, double, 8)
