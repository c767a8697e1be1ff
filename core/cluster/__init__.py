"""Many machines: a service process on each, with one TCP port, that carries what crosses nodes.

::

    driver, workers --Unix--> node service ====TCP==== node service <--Unix-- workers
                                   |                        |
                                   '-------> head <---------'     gRPC: one control stream each

The node that was started with ``--head`` has the scheduler, and with it all the books. What each
file is for: `messages` what nodes say to each other; `credentials` and `proofs` who may,
`diagnosis` why somebody may not; `door` the port; `gateway` joining and control; `tunnels` and
`tunnel` what processes of two nodes say to each other, with `walker` (what of it is for gateways),
`wires` (with TLS or without) and `dock` (where large values arrive); `services` what a node service
does beyond a driver's node; `service` the process; `launch` starting and finding it; `attached` a
driver on it.
"""
