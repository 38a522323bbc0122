// What the system says of this process, and of all of them together.

#include "runner.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

long long now_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Sum of the fields of a /proc file that start with one of two names, in bytes; -1 where there is none.
static long long proc_bytes(const char* path, const char* name, const char* other) {
  FILE* file = fopen(path, "r");
  if (!file) return -1;
  char line[256];
  long long kilobytes, sum = -1;
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name)) || (other && !strncmp(line, other, strlen(other))))
      if (sscanf(strchr(line, ':') ? strchr(line, ':') + 1 : "", "%lld", &kilobytes) == 1)
        sum = (sum < 0 ? 0 : sum) + kilobytes * 1024;
  fclose(file);
  return sum;
}

long long resident_bytes(void) { return proc_bytes("/proc/self/status", "VmRSS:", NULL); }

long long unique_bytes(void) {
  return proc_bytes("/proc/self/smaps_rollup", "Private_Clean:", "Private_Dirty:");
}

long long peak_bytes(void) { return proc_bytes("/proc/self/status", "VmHWM:", NULL); }

long long all_cpu_ns(void) {
  long long user, nice, system, idle, iowait, irq, softirq, steal;
  FILE* file = fopen("/proc/stat", "r");
  if (!file) return -1;
  int found = fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &user, &nice, &system, &idle, &iowait,
                     &irq, &softirq, &steal);
  fclose(file);
  if (found != 8) return -1;
  return (user + nice + system + irq + softirq + steal) * (1000000000LL / sysconf(_SC_CLK_TCK));
}
