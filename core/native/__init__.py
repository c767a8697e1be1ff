"""Engine 2: processes, sockets and shared memory of our own."""
