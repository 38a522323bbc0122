// A camera that does not wait: frames at a fixed rate, answered in its callback, or by a thread beside
// it. What the numbers mean stands in suite/realtime.py, for phones and for the host alike.

#include "runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

enum { BEST = 5 };
static const long long SPIN_NS = 300000;    // before a frame is due: a sleep alone overshoots
static const long long LEAD_NS = 50000000;  // before the first frame

typedef struct {
  long long number, begun, preprocess, infer, postprocess;
} Times;

static const uint8_t* frames;
static long long frame_count, start_ns;
static Times* taken;
static long long taken_count;
static long long* shown;
static long long shown_count;

// --- the stages -------------------------------------------------------------------------------------

static float value_of(Tensor tensor, size_t place) {
  float value;
  if (tensor.type == FLOAT32) return ((const float*)tensor.data)[place];
  if (tensor.type == INT8) value = ((const int8_t*)tensor.data)[place];
  else if (tensor.type == UINT8) value = ((const uint8_t*)tensor.data)[place];
  else if (tensor.type == INT16) value = ((const int16_t*)tensor.data)[place];
  else return 0;  // no scores
  return tensor.scale ? (value - (float)tensor.zero_point) * tensor.scale : value;
}

static volatile size_t best_seen;  // so that no compiler leaves the search out

// The five best of every output, dequantised.
static void postprocess(void) {
  for (int i = 0; i < output_count(); i++) {
    Tensor tensor = output_tensor(i);
    size_t size = tensor.type == FLOAT32 ? 4 : tensor.type == INT16 ? 2 : 1, best[BEST] = {0};
    float scores[BEST];
    int found = 0;
    for (size_t k = 0; k < tensor.bytes / size; k++) {
      float score = value_of(tensor, k);
      if (found == BEST && score <= scores[BEST - 1]) continue;
      int place = found < BEST ? found++ : BEST - 1;
      for (; place > 0 && scores[place - 1] < score; place--) {
        scores[place] = scores[place - 1];
        best[place] = best[place - 1];
      }
      scores[place] = score;
      best[place] = k;
    }
    best_seen = best[0];
  }
}

static Times answered(long long number) {
  long long begun = now_ns(CLOCK_MONOTONIC);
  photo_prepare(frames + (size_t)(number % frame_count) * photo_frame_bytes(), input_tensor(0));
  long long prepared = now_ns(CLOCK_MONOTONIC);
  invoke();
  long long inferred = now_ns(CLOCK_MONOTONIC);
  postprocess();
  long long done = now_ns(CLOCK_MONOTONIC);
  return (Times){number, begun - start_ns, prepared - begun, inferred - prepared, done - inferred};
}

// --- the camera -------------------------------------------------------------------------------------

static void wait_until(long long due) {
  for (long long left; (left = due - now_ns(CLOCK_MONOTONIC)) > 0;) {
    struct timespec nap = {0, (long)(left - SPIN_NS)};
    if (left > SPIN_NS + 999999999LL) nap.tv_nsec = 999999999L;
    if (left > SPIN_NS) nanosleep(&nap, NULL);
    else sched_yield();
  }
}

// Everything in the camera's callback: what comes due meanwhile is dropped, but for the newest.
static void in_callback(const long long* due, long long count) {
  for (long long number = 0; number < count;) {
    wait_until(start_ns + due[number]);
    taken[taken_count++] = answered(number);
    long long now = now_ns(CLOCK_MONOTONIC) - start_ns;
    shown[shown_count++] = now;
    for (number++; number + 1 < count && due[number + 1] <= now;) number++;
  }
}

// Room for one frame: a newer one takes its place.
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  long long number;  // -1: none
  int open;
} slot = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -1, 1};

static void slot_set(long long number, int open) {
  pthread_mutex_lock(&slot.lock);
  if (number >= 0) slot.number = number;
  slot.open = open;
  pthread_cond_signal(&slot.changed);
  pthread_mutex_unlock(&slot.lock);
}

// The newest frame, once there is one; -1 when the camera has stopped and nothing is left.
static long long slot_take(void) {
  pthread_mutex_lock(&slot.lock);
  while (slot.number < 0 && slot.open) pthread_cond_wait(&slot.changed, &slot.lock);
  long long number = slot.number;
  slot.number = -1;
  pthread_mutex_unlock(&slot.lock);
  return number;
}

static void* answer_all(void* nothing) {
  for (long long number; (number = slot_take()) >= 0;) taken[taken_count++] = answered(number);
  return nothing;
}

// The camera shows each frame when it is due and leaves it in the slot; a thread answers the newest.
static void with_threads(const long long* due, long long count) {
  pthread_t worker;
  slot_set(-1, 1);
  if (pthread_create(&worker, NULL, answer_all, NULL)) fail("run", "no thread can be started: %m");
  for (long long number = 0; number < count; number++) {
    wait_until(start_ns + due[number]);
    shown[shown_count++] = now_ns(CLOCK_MONOTONIC) - start_ns;
    slot_set(number, 1);
  }
  slot_set(-1, 0);
  pthread_join(worker, NULL);
}

// --- what was seen ------------------------------------------------------------------------------------

static void print_scheme(int threaded, Plan plan, long long count, long long wall, long long cpu, long long all) {
  printf("%s{\"threaded\": %s, \"fps\": %lld, \"offered\": %lld, \"wall_ns\": %lld, \"cpu_ns\": %lld, "
         "\"cores\": %ld, \"taken\": [", threaded ? ", " : "", threaded ? "true" : "false", plan.fps, count, wall,
         cpu, sysconf(_SC_NPROCESSORS_ONLN));
  for (long long i = 0; i < taken_count; i++)
    printf("%s[%lld,%lld,%lld,%lld,%lld]", i ? "," : "", taken[i].number, taken[i].begun, taken[i].preprocess,
           taken[i].infer, taken[i].postprocess);
  printf("], \"shown_ns\": [");
  for (long long i = 0; i < shown_count; i++) printf(i ? ",%lld" : "%lld", shown[i]);
  printf("]");
  print_known("all_cpu_ns", all);
  print_known("resident_bytes", resident_bytes());
  print_known("unique_bytes", unique_bytes());
  printf("}");
}

void camera_run(const uint8_t* all, long long count, Plan plan, void (*keep_outputs)(void)) {
  frames = all;
  frame_count = count;
  long long quickest = -1;
  for (long long turn = 0; turn < (count < 3 ? 3 : count); turn++) {
    Times times = answered(turn);
    long long took = times.preprocess + times.infer + times.postprocess;
    if (quickest < 0 || took < quickest) quickest = took;
    if (turn < count) keep_outputs();
  }
  long long wanted = quickest * plan.inferences, least = plan.least_ms * 1000000, most = plan.most_ms * 1000000;
  if (wanted < least) wanted = least;
  if (wanted > most) wanted = most;
  long long offered = (long long)((double)plan.fps * (double)wanted / 1e9 + 0.5);
  if (offered < 2) offered = 2;
  long long* due = room((size_t)offered, sizeof *due);
  for (long long k = 0; k < offered; k++) due[k] = (long long)((double)k * 1e9 / (double)plan.fps + 0.5);
  taken = room((size_t)offered, sizeof *taken);
  shown = room((size_t)offered, sizeof *shown);
  print_known("first_resident_bytes", resident_bytes());
  print_known("first_unique_bytes", unique_bytes());
  printf(", \"schemes\": [");
  for (int threaded = 0; threaded < 2; threaded++) {
    taken_count = shown_count = 0;
    long long all = all_cpu_ns(), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    start_ns = now_ns(CLOCK_MONOTONIC) + LEAD_NS;
    (threaded ? with_threads : in_callback)(due, offered);
    long long wall = now_ns(CLOCK_MONOTONIC) - start_ns;
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    print_scheme(threaded, plan, offered, wall, cpu, all < 0 ? all : all_cpu_ns() - all);
  }
  printf("]");
}
