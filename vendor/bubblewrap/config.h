/* What bubblewrap's own build system would have generated, for a build without it. */
#pragma once

/* glibc's headers bring PATH_MAX along by accident; musl's do not. */
#include <limits.h>

#define PACKAGE_STRING "bubblewrap " BUBBLEWRAP_VERSION
