# The libraries that hosts install: libsale.so (sale_shared) and libsale.a (sale_static), both made of the objects that
# this tree's own programs link, and what CMake and pkg-config have to know of them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(parts sale_core sale_generator sale_cache sale_runtime sale_yaml_reader sale_autotune sale_c_api)
list(TRANSFORM parts REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)

file(STRINGS include/sale/version.hpp SALE_ABI_VERSION REGEX "^#define SALE_ABI_VERSION [0-9]+$")
string(REGEX REPLACE "[^0-9]+" "" SALE_ABI_VERSION "${SALE_ABI_VERSION}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS include/sale/version.hpp)
configure_file(cmake/libsale.map.in ${PROJECT_BINARY_DIR}/libsale.map @ONLY)

# {fmt} is inside, unseen. yaml-cpp and libcrypto are not: Debian's archive of the one is no position-independent code
# and runs constructors; the other would weigh 3.8 MB and miss the system's security updates.
add_library(sale_shared SHARED ${objects})
target_link_libraries(sale_shared PRIVATE sale_fmt_static OpenSSL::Crypto yaml-cpp Threads::Threads ${CMAKE_DL_LIBS})
target_link_options(sale_shared PRIVATE -Wl,--version-script=${PROJECT_BINARY_DIR}/libsale.map -Wl,--no-undefined)
set_target_properties(sale_shared PROPERTIES
  OUTPUT_NAME sale
  EXPORT_NAME sale
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${PROJECT_BINARY_DIR}/libsale.map
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

add_library(sale_static STATIC ${objects})
target_link_libraries(sale_static INTERFACE fmt::fmt OpenSSL::Crypto yaml-cpp Threads::Threads ${CMAKE_DL_LIBS})
set_target_properties(sale_static PROPERTIES
  OUTPUT_NAME sale
  EXPORT_NAME static
  ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

foreach(library sale_shared sale_static)
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_features(${library} INTERFACE cxx_std_17)
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

# runtime: what a program that was linked with it needs, or a Python package. development: what linking needs.
install(TARGETS sale_shared EXPORT sale-shared
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS sale_static EXPORT sale-static
  ARCHIVE COMPONENT development)
install(DIRECTORY include/sale TYPE INCLUDE COMPONENT development)
install(FILES LICENSE THIRD_PARTY.md TYPE DOC COMPONENT runtime)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sale)
configure_package_config_file(cmake/sale-config.cmake.in ${PROJECT_BINARY_DIR}/sale-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sale-config-version.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT sale-shared NAMESPACE sale:: DESTINATION ${package_dir} COMPONENT development)
install(EXPORT sale-static NAMESPACE sale:: DESTINATION ${package_dir} COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/sale-config.cmake ${PROJECT_BINARY_DIR}/sale-config-version.cmake
  DESTINATION ${package_dir} COMPONENT development)

# Relative, so that an installed tree may be moved.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH SALE_PREFIX_FROM_PKGCONFIG /prefix/${pkgconfig_dir} /prefix)
foreach(file sale.pc sale-static.pc)
  configure_file(cmake/${file}.in ${PROJECT_BINARY_DIR}/${file} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${file} DESTINATION ${pkgconfig_dir} COMPONENT development)
endforeach()
