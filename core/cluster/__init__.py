"""Many machines: a service process on each, with one TCP port, that carries what crosses nodes.

::

    driver, workers --Unix--> node service ====gRPC==== node service <--Unix-- workers
                                   |                         |
                                   '--------> head <---------'     control: one stream each

The node that was started with ``--head`` has the scheduler, and with it all the books. What each
file is for: `messages` what nodes say to each other; `credentials` and `proofs` who may,
`diagnosis` why somebody may not; `gateway` the port, the streams and the tunnels; `services` what a
node service does beyond a driver's node; `service` the process; `launch` starting and finding it;
`attached` a driver on it.
"""
