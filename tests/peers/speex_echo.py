"""Debian's speexdsp as a canceller of echo: speex_echo.py LIBRARY, a frame of each in and one out by standard streams.

In: frames of 480 samples, 16 bits, first the speaker's and then the microphone's, until the end. Out: what is left of
each. The last line on standard error is the microseconds of processor time that a frame took.
"""

import ctypes
import sys
import time

FRAME, TAIL, RATE = 480, 480 * 20, 48000
# Of speex/speex_echo.h and speex/speex_preprocess.h.
ECHO_SET_SAMPLING_RATE = 24
SET_DENOISE, SET_AGC, SET_ECHO_STATE = 0, 2, 24

speex = ctypes.CDLL(sys.argv[1])
speex.speex_echo_state_init.restype = ctypes.c_void_p
speex.speex_preprocess_state_init.restype = ctypes.c_void_p
echo = ctypes.c_void_p(speex.speex_echo_state_init(FRAME, TAIL))
rest = ctypes.c_void_p(speex.speex_preprocess_state_init(FRAME, RATE))
number = ctypes.c_int(RATE)
speex.speex_echo_ctl(echo, ECHO_SET_SAMPLING_RATE, ctypes.byref(number))
off = ctypes.c_int(0)
for what in (SET_DENOISE, SET_AGC):
    speex.speex_preprocess_ctl(rest, what, ctypes.byref(off))
speex.speex_preprocess_ctl(rest, SET_ECHO_STATE, echo)

Frame = ctypes.c_int16 * FRAME
size = ctypes.sizeof(Frame)
out = Frame()
spent, count = 0, 0
data = sys.stdin.buffer.read()
result = bytearray()
for start in range(0, len(data) - 2 * size + 1, 2 * size):
    far = Frame.from_buffer_copy(data, start)
    microphone = Frame.from_buffer_copy(data, start + size)
    before = time.thread_time_ns()
    speex.speex_echo_cancellation(echo, microphone, far, out)
    speex.speex_preprocess_run(rest, out)
    spent += time.thread_time_ns() - before
    count += 1
    result += bytes(out)
sys.stdout.buffer.write(result)
print(spent / 1000 / max(count, 1), file=sys.stderr)
