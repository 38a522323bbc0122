// Runs a TFLite model on a device: a batch of inputs in, all outputs out, every latency sample, one JSON.
//
//   device_runner library=PATH model=PATH input=PATH output=PATH count=N [name=value ...]
//
// The input file holds `count` samples one after another, each the raw bytes of every input tensor in
// the model's order; the output file likewise. See `settings` for the other names. The first sample is
// then timed where min_runs > 0. Where fps > 0, the input file holds frames of a camera instead, which
// then shows them over and over. Exit status 0, or 1 with {"error": ..., "stage": "load"|"run"}.

#include "runner.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- the part of the TfLite C API that is used, by its public signatures ------------------------

typedef struct { float scale; int32_t zero_point; } Quantisation;

// Longer than the library's own options, of which the first field alone is ours to set: the library
// fills and reads its own part, whatever its version.
typedef struct { int32_t num_threads; char rest[1020]; } XnnpackOptions;

#define API(X)                                                         \
  X(TfLiteModelCreateFromFile, void*, (const char*))                   \
  X(TfLiteInterpreterOptionsCreate, void*, (void))                     \
  X(TfLiteInterpreterOptionsSetNumThreads, void, (void*, int32_t))     \
  X(TfLiteInterpreterOptionsAddDelegate, void, (void*, void*))         \
  X(TfLiteInterpreterCreate, void*, (void*, void*))                    \
  X(TfLiteInterpreterAllocateTensors, int, (void*))                    \
  X(TfLiteInterpreterInvoke, int, (void*))                             \
  X(TfLiteInterpreterGetInputTensorCount, int32_t, (void*))            \
  X(TfLiteInterpreterGetInputTensor, void*, (void*, int32_t))          \
  X(TfLiteInterpreterGetOutputTensorCount, int32_t, (void*))           \
  X(TfLiteInterpreterGetOutputTensor, const void*, (void*, int32_t))   \
  X(TfLiteTensorType, int, (const void*))                              \
  X(TfLiteTensorNumDims, int32_t, (const void*))                       \
  X(TfLiteTensorDim, int32_t, (const void*, int32_t))                  \
  X(TfLiteTensorByteSize, size_t, (const void*))                       \
  X(TfLiteTensorData, void*, (const void*))                            \
  X(TfLiteTensorName, const char*, (const void*))                      \
  X(TfLiteTensorQuantizationParams, Quantisation, (const void*))       \
  X(TfLiteXNNPackDelegateOptionsDefault, XnnpackOptions, (void))       \
  X(TfLiteXNNPackDelegateCreate, void*, (const XnnpackOptions*))

#define DECLARE(name, result, arguments) static result(*name) arguments;
API(DECLARE)

// --- settings -----------------------------------------------------------------------------------

enum { MS = 1000000 };  // nanoseconds

static const char *library, *model, *input, *output;
static long long count, threads = 1, xnnpack = 1;
static long long limit_s = 900;  // then the process ends itself, also when nobody waits for it any more
static long long warmup_min_runs, warmup_max_runs = 1024, warmup_min_ms, warmup_max_ms = 10000;
static long long min_runs, max_runs = 1024, min_ms, max_ms = 30000, few_runs, few_max_ms;
static Plan plan;  // fps 0: no camera

static const struct { const char* name; const char** text; long long* number; } settings[] = {
    {"library", &library, 0},   {"model", &model, 0},
    {"input", &input, 0},       {"output", &output, 0},
    {"count", 0, &count},       {"threads", 0, &threads},
    {"xnnpack", 0, &xnnpack},   {"limit_s", 0, &limit_s},
    {"warmup_min_runs", 0, &warmup_min_runs},
    {"warmup_max_runs", 0, &warmup_max_runs},
    {"warmup_min_ms", 0, &warmup_min_ms},
    {"warmup_max_ms", 0, &warmup_max_ms},
    {"min_runs", 0, &min_runs}, {"max_runs", 0, &max_runs},
    {"min_ms", 0, &min_ms},     {"max_ms", 0, &max_ms},
    {"few_runs", 0, &few_runs}, {"few_max_ms", 0, &few_max_ms},
    {"fps", 0, &plan.fps},      {"inferences", 0, &plan.inferences},
    {"least_ms", 0, &plan.least_ms},          {"most_ms", 0, &plan.most_ms},
    {"frame_height", 0, &photo.frame_height}, {"frame_width", 0, &photo.frame_width},
    {"box_top", 0, &photo.box_top},           {"box_left", 0, &photo.box_left},
    {"box_height", 0, &photo.box_height},     {"box_width", 0, &photo.box_width},
    {"height", 0, &photo.height},             {"width", 0, &photo.width},
    {"channels", 0, &photo.channels},         {"filter", &photo.filter, 0},
    {"order", &photo.order, 0},               {"scale", &photo.scale, 0},
    {"bias", &photo.bias, 0},
};

// --- words --------------------------------------------------------------------------------------

static void print_string(const char* text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c < 0x20 || c == 0x7f) printf("\\u%04x", c);
    else putchar(c);
  }
  putchar('"');
}

void fail(const char* stage, const char* format, ...) {
  char words[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(words, sizeof words, format, arguments);
  va_end(arguments);
  __fpurge(stdout);  // half an answer is none
  printf("{\"error\": ");
  print_string(words);
  printf(", \"stage\": \"%s\"}\n", stage);
  fflush(stdout);
  _exit(1);
}

void print_known(const char* name, long long value) {
  if (value < 0) printf(", \"%s\": null", name);
  else printf(", \"%s\": %lld", name, value);
}

// --- the model ------------------------------------------------------------------------------------

static void* interpreter;
static size_t input_bytes, output_bytes;  // of one sample

static void open_library(void) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) fail("load", "cannot open the library: %s", dlerror());
#define RESOLVE(name, result, arguments)                                   \
  *(void**)&name = dlsym(handle, #name);                                   \
  if (!name) fail("load", "%s has no %s: it is another library, or another version", library, #name);
  API(RESOLVE)
}

static void open_model(void) {
  void* file = TfLiteModelCreateFromFile(model);
  if (!file) fail("load", "%s is no TFLite model", model);
  void* options = TfLiteInterpreterOptionsCreate();
  TfLiteInterpreterOptionsSetNumThreads(options, (int32_t)threads);
  if (xnnpack) {
    XnnpackOptions own = TfLiteXNNPackDelegateOptionsDefault();
    own.num_threads = (int32_t)threads;
    void* delegate = TfLiteXNNPackDelegateCreate(&own);
    if (!delegate) fail("load", "XNNPACK cannot be set up");
    TfLiteInterpreterOptionsAddDelegate(options, delegate);
  }
  interpreter = TfLiteInterpreterCreate(file, options);
  if (!interpreter) fail("load", "the runtime cannot take the model");
  if (TfLiteInterpreterAllocateTensors(interpreter)) fail("load", "the model's tensors cannot be allocated");
  for (int i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); i++)
    input_bytes += TfLiteTensorByteSize(TfLiteInterpreterGetInputTensor(interpreter, i));
  for (int i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter); i++)
    output_bytes += TfLiteTensorByteSize(TfLiteInterpreterGetOutputTensor(interpreter, i));
}

static Tensor described(const void* tensor) {
  Quantisation by = TfLiteTensorQuantizationParams(tensor);
  return (Tensor){TfLiteTensorData(tensor), TfLiteTensorByteSize(tensor), TfLiteTensorType(tensor), by.scale,
                  by.zero_point};
}

int input_count(void) { return TfLiteInterpreterGetInputTensorCount(interpreter); }

int output_count(void) { return TfLiteInterpreterGetOutputTensorCount(interpreter); }

Tensor input_tensor(int place) { return described(TfLiteInterpreterGetInputTensor(interpreter, place)); }

Tensor output_tensor(int place) { return described(TfLiteInterpreterGetOutputTensor(interpreter, place)); }

static void read_sample(FILE* file) {
  for (int i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); i++) {
    void* tensor = TfLiteInterpreterGetInputTensor(interpreter, i);
    size_t bytes = TfLiteTensorByteSize(tensor);
    if (fread(TfLiteTensorData(tensor), 1, bytes, file) != bytes) fail("run", "%s ends too early", input);
  }
}

static void write_sample(FILE* file) {
  for (int i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter); i++) {
    const void* tensor = TfLiteInterpreterGetOutputTensor(interpreter, i);
    size_t bytes = TfLiteTensorByteSize(tensor);
    if (fwrite(TfLiteTensorData(tensor), 1, bytes, file) != bytes) fail("run", "cannot write %s: %m", output);
  }
}

long long invoke(void) {
  long long start = now_ns(CLOCK_MONOTONIC);
  if (TfLiteInterpreterInvoke(interpreter)) fail("run", "the runtime failed while it ran");
  return now_ns(CLOCK_MONOTONIC) - start;
}

// --- the measurement ------------------------------------------------------------------------------

// The input file, which holds `count` samples of so many bytes.
static FILE* open_input(size_t bytes) {
  FILE* file = fopen(input, "rb");
  struct stat status;
  if (!file || fstat(fileno(file), &status)) fail("run", "cannot read %s: %m", input);
  if ((unsigned long long)status.st_size != (unsigned long long)count * bytes)
    fail("run", "%s holds %lld bytes, expected %lld samples of %zu", input, (long long)status.st_size, count,
         bytes);
  return file;
}

static FILE* open_output(void) {
  FILE* file = fopen(output, "wb");
  if (!file) fail("run", "cannot write %s: %m", output);
  return file;
}

static long long first_resident, first_unique;  // bytes, after the first inference

// Every sample of the file once, answers written; the latencies go to `samples`.
static FILE* run_batch(long long* samples) {
  FILE *in = open_input(input_bytes), *out = open_output();
  for (long long i = 0; i < count; i++) {
    read_sample(in);
    samples[i] = invoke();
    write_sample(out);
    if (i) continue;
    first_resident = resident_bytes();
    first_unique = unique_bytes();
  }
  if (fclose(out)) fail("run", "cannot write %s: %m", output);
  return in;
}

static FILE* kept;

static void keep_outputs(void) { write_sample(kept); }

// The camera's frames, answered once each and then as they come.
static void run_camera(void) {
  photo_open();
  size_t bytes = photo_frame_bytes();
  FILE* in = open_input(bytes);
  uint8_t* frames = room((size_t)count, bytes);
  if (fread(frames, bytes, (size_t)count, in) != (size_t)count) fail("run", "%s ends too early", input);
  kept = open_output();
  camera_run(frames, count, plan, keep_outputs);
  if (fclose(kept)) fail("run", "cannot write %s: %m", output);
}

// Until the fewest runs and milliseconds are reached, or the most runs, or the cap, which holds for `few`
// runs later; returns how many.
static long long repeat(long long* samples, long long fewest, long long most, long long enough_ns, long long cap_ns,
                        long long few, long long few_cap_ns) {
  long long start = now_ns(CLOCK_MONOTONIC), end = start, n = 0;
  while ((n < fewest || end < start + enough_ns) && n < most && end < start + (n < few ? few_cap_ns : cap_ns)) {
    samples[n++] = invoke();
    end = now_ns(CLOCK_MONOTONIC);
  }
  return n;
}

static int by_size(const void* one, const void* other) {
  long long a = *(const long long*)one, b = *(const long long*)other;
  return (a > b) - (a < b);
}

static long long median(const long long* samples, long long n) {
  long long* sorted = memcpy(room((size_t)n, sizeof *sorted), samples, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, by_size);
  long long middle = sorted[n / 2];
  free(sorted);
  return middle;
}

// Blocks of runs until one is less than 5 % quicker than the last, or a cap is met; as on the host.
static long long warm_up(long long* samples) {
  long long fewest = (warmup_min_runs + 1) / 2, enough = warmup_min_ms * MS / 2, n = 0, last = 0;
  if (!fewest && !enough) return 0;
  long long cap = now_ns(CLOCK_MONOTONIC) + warmup_max_ms * MS;
  for (long long left; n < warmup_max_runs && (left = cap - now_ns(CLOCK_MONOTONIC)) > 0;) {
    long long count = repeat(samples + n, fewest, warmup_max_runs - n, enough, left, 0, 0);
    long long quickness = median(samples + n, count);
    n += count;
    if (last && quickness * 100 > last * 95) break;
    last = quickness;
  }
  return n;
}

// --- the answer -----------------------------------------------------------------------------------

static void print_samples(const char* name, const long long* samples, long long n) {
  printf(", \"%s\": [", name);
  for (long long i = 0; i < n; i++) printf(i ? ",%lld" : "%lld", samples[i]);
  printf("]");
}

static void print_tensor(const void* tensor) {
  static const char* const types[] = {"none",  "float32",   "int32", "uint8",   "int64",  "string",
                                      "bool",  "int16",     "complex64", "int8", "float16", "float64"};
  int type = TfLiteTensorType(tensor);
  Quantisation quantisation = TfLiteTensorQuantizationParams(tensor);
  printf("{\"name\": ");
  print_string(TfLiteTensorName(tensor));
  printf(", \"dtype\": \"%s\", \"shape\": [",
         type >= 0 && type < (int)(sizeof types / sizeof *types) ? types[type] : "other");
  for (int i = 0; i < TfLiteTensorNumDims(tensor); i++)
    printf(i ? ",%d" : "%d", (int)TfLiteTensorDim(tensor, i));
  printf("], \"scale\": %.9g, \"zero_point\": %d}", quantisation.scale, (int)quantisation.zero_point);
}

static void print_tensors(void) {
  printf(", \"inputs\": [");
  for (int i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); i++) {
    if (i) printf(", ");
    print_tensor(TfLiteInterpreterGetInputTensor(interpreter, i));
  }
  printf("], \"outputs\": [");
  for (int i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter); i++) {
    if (i) printf(", ");
    print_tensor(TfLiteInterpreterGetOutputTensor(interpreter, i));
  }
  printf("]");
}

static void parse(const char* argument) {
  const char* value = strchr(argument, '=');
  for (size_t i = 0; value && i < sizeof settings / sizeof *settings; i++) {
    if (strlen(settings[i].name) != (size_t)(value - argument)) continue;
    if (strncmp(argument, settings[i].name, (size_t)(value - argument))) continue;
    if (settings[i].text) {
      *settings[i].text = value + 1;
      return;
    }
    char* end;
    *settings[i].number = strtoll(value + 1, &end, 10);
    if (*end || end == value + 1 || *settings[i].number < 0)
      fail("load", "%s: a number of zero or more is expected", argument);
    return;
  }
  fail("load", "unknown argument %s", argument);
}

void* room(size_t count, size_t bytes) {
  void* made = calloc(count + 1, bytes);
  if (!made) fail("load", "no memory for %zu times %zu bytes", count, bytes);
  return made;
}

// Everything once, then the first sample over and over.
static void run_timed(void) {
  long long *batch = room((size_t)count, sizeof *batch), *warmup = room((size_t)warmup_max_runs, sizeof *warmup);
  long long* samples = room((size_t)max_runs, sizeof *samples);
  FILE* in = run_batch(batch);
  long long warmups = 0, runs = 0, cpu_ns = 0, wall_ns = 0, all = 0;
  if (min_runs > 0) {
    rewind(in);
    read_sample(in);
    warmups = warm_up(warmup);
    all = all_cpu_ns();
    long long cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), wall = now_ns(CLOCK_MONOTONIC);
    runs = repeat(samples, min_runs, max_runs, min_ms * MS, max_ms * MS, few_runs, few_max_ms * MS);
    cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall_ns = now_ns(CLOCK_MONOTONIC) - wall;
    all = all < 0 ? all : all_cpu_ns() - all;
  }
  printf(", \"cpu_ns\": %lld, \"wall_ns\": %lld, \"cores\": %ld", cpu_ns, wall_ns, sysconf(_SC_NPROCESSORS_ONLN));
  print_known("all_cpu_ns", all);
  print_known("first_resident_bytes", first_resident);
  print_known("first_unique_bytes", first_unique);
  print_samples("batch_ns", batch, count);
  print_samples("warmup_ns", warmup, warmups);
  print_samples("samples_ns", samples, runs);
}

int main(int argc, char** argv) {
  long long begun = now_ns(CLOCK_MONOTONIC);
  setvbuf(stdout, room(1, 1 << 20), _IOFBF, 1 << 20);
  for (int i = 1; i < argc; i++) parse(argv[i]);
  if (!library || !model || !input || !output || count < 1 || threads < 1)
    fail("load", "library, model, input, output, and count and threads of one or more are needed");
  alarm((unsigned)limit_s);
  open_library();
  long long baseline = resident_bytes(), baseline_unique = unique_bytes();

  long long start = now_ns(CLOCK_MONOTONIC);
  open_model();
  long long load_ns = now_ns(CLOCK_MONOTONIC) - start, loaded = resident_bytes(), loaded_unique = unique_bytes();

  printf("{\"threads\": %lld, \"xnnpack\": %s, \"count\": %lld, \"load_ns\": %lld", threads,
         xnnpack ? "true" : "false", count, load_ns);
  if (plan.fps) run_camera();
  else run_timed();
  print_known("baseline_bytes", baseline);
  print_known("baseline_unique_bytes", baseline_unique);
  print_known("loaded_bytes", loaded);
  print_known("loaded_unique_bytes", loaded_unique);
  print_known("resident_bytes", resident_bytes());
  print_known("peak_bytes", peak_bytes());
  print_known("unique_bytes", unique_bytes());
  print_tensors();
  printf(", \"own_ns\": %lld}\n", now_ns(CLOCK_MONOTONIC) - begun);
  fflush(stdout);
  _exit(0);  // the library's own destructors have nothing to tell
}
