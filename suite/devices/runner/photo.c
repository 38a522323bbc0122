// A camera's frame to a model's input: cut, resampled as Pillow does it to the last bit, put in the
// model's order of channels, scaled, and quantised where the input is.

#include "runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTION = 22, RGB = 3 };  // bits behind the point of a weight; channels of a frame

Photo photo = {.channels = RGB, .filter = "bilinear", .order = "RGB", .scale = "1,1,1", .bias = "0,0,0"};

// --- resampling -------------------------------------------------------------------------------------

// One pixel of a line is a weighted sum of some neighbours of the line that it is made of.
typedef struct {
  int first, count;
  int32_t* weights;
} Taps;

static double triangle(double x) {
  x = fabs(x);
  return x < 1 ? 1 - x : 0;
}

static double cubic(double x) {
  const double a = -0.5;
  x = fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// A line of `from` pixels to one of `to`; a filter that reaches further when it makes things smaller.
static Taps* taps(int from, int to, double (*filter)(double), double reach) {
  Taps* made = room((size_t)to, sizeof *made);
  double step = (double)from / to, stretch = step < 1 ? 1 : step, support = reach * stretch;
  for (int i = 0; i < to; i++) {
    double centre = (i + 0.5) * step, sum = 0;
    if (!filter) {  // the nearest
      made[i] = (Taps){.first = (int)centre, .count = 1, .weights = room(1, sizeof(int32_t))};
      made[i].weights[0] = 1 << FRACTION;
      continue;
    }
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    if (first < 0) first = 0;
    if (end > from) end = from;
    double* exact = room((size_t)(end - first), sizeof *exact);
    made[i] = (Taps){.first = first, .count = end - first, .weights = room((size_t)(end - first), 4)};
    for (int k = 0; k < end - first; k++) sum += exact[k] = filter((first + k - centre + 0.5) / stretch);
    for (int k = 0; k < end - first; k++) {
      double weight = exact[k] / sum * (1 << FRACTION);
      made[i].weights[k] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    free(exact);
  }
  return made;
}

// Lines of `to` pixels out of lines of pixels that are `stride` bytes apart.
static void resample(const uint8_t* line, size_t stride, const Taps* by, int to, uint8_t* out, size_t apart) {
  for (int i = 0; i < to; i++)
    for (int channel = 0; channel < RGB; channel++) {
      const uint8_t* pixel = line + (size_t)by[i].first * stride + channel;
      int32_t sum = 1 << (FRACTION - 1);
      for (int k = 0; k < by[i].count; k++, pixel += stride) sum += *pixel * by[i].weights[k];
      sum >>= FRACTION;
      out[(size_t)i * apart + (size_t)channel] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

// --- what a pixel is to the model --------------------------------------------------------------------

static Taps *across, *down;
static uint8_t *narrow, *small;    // box_height x width, height x width
static float scale[RGB], bias[RGB];
static float meant[RGB][256];      // a channel's pixel as the model takes it
static int reversed;

static void read_three(const char* name, const char* text, float* values) {
  for (int i = 0; i < RGB; i++) {
    char* end;
    values[i] = strtof(text, &end);
    if (end == text || *end != (i < RGB - 1 ? ',' : 0)) fail("load", "%s: three numbers are expected", name);
    text = end + 1;
  }
}

size_t photo_frame_bytes(void) {
  if (photo.frame_height) return (size_t)(photo.frame_height * photo.frame_width * RGB);
  return input_tensor(0).bytes;
}

void photo_open(void) {
  if (input_count() != 1) fail("load", "the model takes %d inputs, and a camera gives one", input_count());
  if (!photo.frame_height) return;
  Tensor tensor = input_tensor(0);
  long long values = photo.height * photo.width * photo.channels;
  size_t size = tensor.type == FLOAT32 ? 4 : tensor.type == INT16 ? 2 : 1;
  if (tensor.type != FLOAT32 && tensor.type != INT8 && tensor.type != UINT8 && tensor.type != INT16)
    fail("load", "an input of type %d is not one for photos", tensor.type);
  if (values < 1 || (size_t)values * size != tensor.bytes || (photo.channels != 1 && photo.channels != RGB))
    fail("load", "the input holds %zu bytes, photos of %lldx%lldx%lld do not fit", tensor.bytes,
         photo.height, photo.width, photo.channels);
  if (photo.box_height < 1 || photo.box_width < 1 || photo.box_top + photo.box_height > photo.frame_height ||
      photo.box_left + photo.box_width > photo.frame_width)
    fail("load", "what is to be cut out of a frame is not within it");
  int nearest = !strcmp(photo.filter, "nearest"), bicubic = !strcmp(photo.filter, "bicubic");
  double (*filter)(double) = nearest ? NULL : bicubic ? cubic : triangle;
  if (!nearest && !bicubic && strcmp(photo.filter, "bilinear")) fail("load", "unknown filter %s", photo.filter);
  across = taps((int)photo.box_width, (int)photo.width, filter, bicubic ? 2 : 1);
  down = taps((int)photo.box_height, (int)photo.height, filter, bicubic ? 2 : 1);
  narrow = room((size_t)(photo.box_height * photo.width), RGB);
  small = room((size_t)(photo.height * photo.width), RGB);
  read_three("scale", photo.scale, scale);
  read_three("bias", photo.bias, bias);
  reversed = !strcmp(photo.order, "BGR");
  for (int channel = 0; channel < RGB; channel++)
    for (int pixel = 0; pixel < 256; pixel++)
      meant[channel][pixel] = (float)pixel * scale[channel] + bias[channel];
}

static long limited(float value, Tensor tensor, long least, long most) {
  float steps = tensor.scale ? value / tensor.scale : value;
  float whole = truncf(steps + copysignf(0.5f, steps)) + (float)tensor.zero_point;
  return whole < (float)least ? least : whole > (float)most ? most : (long)whole;
}

static void put(Tensor tensor, size_t place, float value) {
  if (tensor.type == FLOAT32) ((float*)tensor.data)[place] = value;
  else if (tensor.type == INT8) ((int8_t*)tensor.data)[place] = (int8_t)limited(value, tensor, -128, 127);
  else if (tensor.type == UINT8) ((uint8_t*)tensor.data)[place] = (uint8_t)limited(value, tensor, 0, 255);
  else ((int16_t*)tensor.data)[place] = (int16_t)limited(value, tensor, -32768, 32767);
}

void photo_prepare(const uint8_t* frame, Tensor tensor) {
  if (!photo.frame_height) {
    memcpy(tensor.data, frame, tensor.bytes);
    return;
  }
  size_t frame_line = (size_t)photo.frame_width * RGB, line = (size_t)photo.width * RGB;
  const uint8_t* box = frame + (size_t)photo.box_top * frame_line + (size_t)photo.box_left * RGB;
  for (long long y = 0; y < photo.box_height; y++)
    resample(box + (size_t)y * frame_line, RGB, across, (int)photo.width, narrow + (size_t)y * line, RGB);
  for (long long x = 0; x < photo.width; x++)
    resample(narrow + x * RGB, line, down, (int)photo.height, small + x * RGB, line);
  for (size_t i = 0; i < (size_t)(photo.height * photo.width); i++) {
    const uint8_t* pixel = small + i * RGB;
    if (photo.channels == 1) {  // luma of ITU-R 601
      float luma = 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
      put(tensor, i, luma * scale[0] + bias[0]);
    } else {
      for (int channel = 0; channel < RGB; channel++)
        put(tensor, i * RGB + (size_t)channel, meant[channel][pixel[reversed ? RGB - 1 - channel : channel]]);
    }
  }
}
