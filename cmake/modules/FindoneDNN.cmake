# Finds oneDNN and makes the target oneDNN::oneDNN. oneDNN's own package file is not used: Debian's asks every user
# for an OpenCL development package, of which a processor-only program has no need.
# Also installed, because a static libunroll needs it at a user's link.
find_path(oneDNN_INCLUDE_DIR NAMES oneapi/dnnl/dnnl.h)
find_library(oneDNN_LIBRARY NAMES dnnl)
mark_as_advanced(oneDNN_INCLUDE_DIR oneDNN_LIBRARY)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(oneDNN
  REQUIRED_VARS oneDNN_LIBRARY oneDNN_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "on Debian: apt-get install libdnnl-dev, or configure with -DUNROLL_WITH_ONEDNN=OFF")
if(oneDNN_FOUND AND NOT TARGET oneDNN::oneDNN)
  add_library(oneDNN::oneDNN UNKNOWN IMPORTED)
  set_target_properties(oneDNN::oneDNN PROPERTIES
    IMPORTED_LOCATION "${oneDNN_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${oneDNN_INCLUDE_DIR}")
endif()
