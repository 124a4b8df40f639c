// The one place that knows where xtensor keeps its headers: version 0.26 moved them into folders.
#pragma once

#if __has_include(<xtensor/xarray.hpp>)
#include <xtensor/xarray.hpp>
#else
#include <xtensor/containers/xarray.hpp>
#endif
