# Every third-party library, found once. All are Debian/Ubuntu packages (scripts/install-dependencies installs them).
# A program with the property SALE_PORTABLE links them statically, and all else but glibc. Only the link differs: both
# kinds of programs are made of the same objects.
find_package(fmt REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
if(SALE_BUILD_CLI)
  find_package(yaml-cpp REQUIRED)
  find_package(nlohmann_json REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(PNG REQUIRED)
endif()

define_property(TARGET PROPERTY SALE_PORTABLE INITIALIZE_FROM_VARIABLE SALE_PORTABLE
                BRIEF_DOCS "Whether a program links everything but glibc statically")
set(is_portable "$<BOOL:$<TARGET_PROPERTY:SALE_PORTABLE>>")
add_link_options($<${is_portable}:-static-libstdc++> $<${is_portable}:-static-libgcc>)

if(SALE_PORTABLE OR SALE_PORTABLE_PROGRAMS)
  add_library(sale_fmt_static STATIC ${CMAKE_CURRENT_LIST_DIR}/static_fmt.cpp)
  set(SALE_FMT_STATIC sale_fmt_static)
  find_library(SALE_CRYPTO_STATIC libcrypto.a REQUIRED)
  if(SALE_BUILD_CLI)
    find_library(SALE_YAML_STATIC libyaml-cpp.a REQUIRED)
    find_library(SALE_PNG_STATIC libpng.a REQUIRED)
    find_library(SALE_Z_STATIC libz.a REQUIRED)
  endif()
endif()

# One name each, whatever the package calls its targets and however it is linked.
add_library(sale_fmt INTERFACE)
target_link_libraries(sale_fmt INTERFACE $<IF:${is_portable},${SALE_FMT_STATIC},fmt::fmt>)
add_library(sale_crypto INTERFACE)
target_link_libraries(sale_crypto INTERFACE $<IF:${is_portable},${SALE_CRYPTO_STATIC},OpenSSL::Crypto>)
if(SALE_BUILD_CLI)
  add_library(sale_yaml INTERFACE)
  target_link_libraries(sale_yaml INTERFACE $<IF:${is_portable},${SALE_YAML_STATIC},yaml-cpp>)
  add_library(sale_png INTERFACE)
  target_link_libraries(sale_png INTERFACE $<IF:${is_portable},${SALE_PNG_STATIC},PNG::PNG>)
  target_link_libraries(sale_png INTERFACE $<${is_portable}:${SALE_Z_STATIC}>)
endif()
