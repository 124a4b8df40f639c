# What `cmake --install` puts where: headers, both libraries, the CMake package, the pkg-config files.
# The two kinds of library are exported apart, so that a user of the shared one needs none of the private dependencies.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include("${PROJECT_SOURCE_DIR}/cmake/headers.cmake")

set(unroll_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/unroll")
foreach(header IN LISTS UNROLL_PUBLIC_HEADERS)
  get_filename_component(folder "${header}" DIRECTORY)
  install(FILES "${PROJECT_SOURCE_DIR}/${header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/unroll/${folder}")
endforeach()
foreach(kind IN ITEMS static shared)
  install(TARGETS unroll_${kind} EXPORT unroll-${kind}-targets)
  install(EXPORT unroll-${kind}-targets NAMESPACE unroll:: DESTINATION "${unroll_package_dir}")
endforeach()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/unroll-config.cmake.in" "${PROJECT_BINARY_DIR}/unroll-config.cmake"
  INSTALL_DESTINATION "${unroll_package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/unroll-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/unroll-config.cmake"
  "${PROJECT_BINARY_DIR}/unroll-config-version.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/modules/FindCBLAS.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/modules/FindoneDNN.cmake"
  DESTINATION "${unroll_package_dir}")

# In the pkg-config files the prefix is written relative to the file, so that an installed tree can be moved. A folder that
# was given as an absolute path stays where it is.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(unroll_pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH unroll_pc_up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  set(unroll_pc_prefix "\${pcfiledir}/${unroll_pc_up}")
endif()
cmake_path(APPEND unroll_pc_libdir "\${prefix}" "${CMAKE_INSTALL_LIBDIR}")
cmake_path(APPEND unroll_pc_includedir "\${prefix}" "${CMAKE_INSTALL_INCLUDEDIR}")
get_filename_component(cblas_name "${CBLAS_LIBRARY}" NAME_WE)
string(REGEX REPLACE "^lib" "-l" cblas_flag "${cblas_name}")
set(unroll_pc_private "${cblas_flag} -pthread")
if(UNROLL_WITH_ONEDNN)
  string(PREPEND unroll_pc_private "-ldnnl ")
endif()
foreach(name IN ITEMS unroll unroll-static)
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()
