// What the parts of device_runner share.

#ifndef POCKETPROOF_RUNNER_H
#define POCKETPROOF_RUNNER_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

// --- words and room: device_runner.c --------------------------------------------------------------

// Ends the process with {"error": ..., "stage": ...} and status 1.
__attribute__((noreturn, format(printf, 2, 3))) void fail(const char* stage, const char* format, ...);

void* room(size_t count, size_t bytes);                // zeroed
void print_known(const char* name, long long value);  // null where it is negative

// --- the process: process.c; -1 for what the system does not tell -----------------------------------

long long now_ns(clockid_t clock);
long long resident_bytes(void);
long long unique_bytes(void);
long long peak_bytes(void);
long long all_cpu_ns(void);  // of all processes since the system started

// --- the model: device_runner.c -------------------------------------------------------------------

enum { FLOAT32 = 1, UINT8 = 3, INT16 = 7, INT8 = 9 };  // types of tensors, by the library's numbers

typedef struct {
  void* data;
  size_t bytes;
  int type;
  float scale;  // 0: not quantised
  int zero_point;
} Tensor;

int input_count(void);
int output_count(void);
Tensor input_tensor(int place);
Tensor output_tensor(int place);
long long invoke(void);  // nanoseconds it took

// --- a photo as the model takes it: photo.c ---------------------------------------------------------

// As the arguments of the process state it; `photo_settings` are their values.
typedef struct {
  long long frame_height, frame_width;                // of the camera; 0: frames are inputs already
  long long box_top, box_left, box_height, box_width;  // what is cut out of it
  long long height, width, channels;                  // of the model's input
  const char *filter, *order, *scale, *bias;          // "bilinear", "RGB", three numbers each
} Photo;

extern Photo photo;

size_t photo_frame_bytes(void);
void photo_open(void);                                  // once the model is open
void photo_prepare(const uint8_t* frame, Tensor tensor);  // fills the input

// --- a camera that does not wait: camera.c ------------------------------------------------------------

typedef struct {
  long long fps, least_ms, inferences, most_ms;  // as a CameraPlan has them
} Plan;

// Answers every frame once and keeps the outputs, then runs both schemes and prints what they saw.
void camera_run(const uint8_t* frames, long long count, Plan plan, void (*keep_outputs)(void));

#endif
