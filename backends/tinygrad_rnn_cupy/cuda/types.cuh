// Names of the element types. `f16`, `bf16` and `b8` are storage: values are computed with in `f32`
// and `bool`.
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
struct b8 { u8 bits; };

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
