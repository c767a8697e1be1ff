"""A trained policy for use without this package.

graph    the policy from raw observation to the environment's action, as one torch module
onnx     ... as an ONNX file
program  ... as a program of torch alone
parity   whether these come to the same actions
card     what it is, how it was trained, and how good it is
export   all files of one run
"""
