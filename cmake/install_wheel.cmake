# The Python wheel carries what differs between systems that could use it: yaml-cpp, beside libsale.so.
set_target_properties(sale_shared PROPERTIES INSTALL_RPATH "$ORIGIN")
install(IMPORTED_RUNTIME_ARTIFACTS yaml-cpp LIBRARY COMPONENT runtime)
