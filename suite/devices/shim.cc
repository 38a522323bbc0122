// Preloaded into adbd on a stand-in phone: properties from a file, and loopback instead of every interface.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <fstream>
#include <string>

namespace android {
namespace base {

std::string GetProperty(const std::string& key, const std::string& fallback) {
  std::ifstream file("/system/build.prop");
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, key.size() + 1, key + "=") == 0) return line.substr(key.size() + 1);
  return fallback;
}

bool SetProperty(const std::string&, const std::string&) { return true; }

}  // namespace base
}  // namespace android

// adbd does not authenticate here: nobody but this machine may reach it.
extern "C" int bind(int fd, const struct sockaddr* address, socklen_t length) {
  using Bind = int (*)(int, const struct sockaddr*, socklen_t);
  static const Bind real = reinterpret_cast<Bind>(dlsym(RTLD_NEXT, "bind"));
  struct sockaddr_storage copy = {};
  memcpy(&copy, address, length < sizeof copy ? length : sizeof copy);
  if (copy.ss_family == AF_INET) {
    auto* own = reinterpret_cast<struct sockaddr_in*>(&copy);
    if (own->sin_addr.s_addr == INADDR_ANY) own->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else if (copy.ss_family == AF_INET6) {
    auto* own = reinterpret_cast<struct sockaddr_in6*>(&copy);
    if (IN6_IS_ADDR_UNSPECIFIED(&own->sin6_addr)) inet_pton(AF_INET6, "::ffff:127.0.0.1", &own->sin6_addr);
  }
  return real(fd, reinterpret_cast<struct sockaddr*>(&copy), length);
}

// What adbd starts is on its own.
__attribute__((constructor)) static void forget() { unsetenv("LD_PRELOAD"); }
