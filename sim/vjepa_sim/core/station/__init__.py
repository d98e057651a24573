"""A simulated assembly station: a procedure that is done right or wrong on command, and is filmed.

layout says where things stand, parts how they look; procedure and faults say what is to be done,
choreography and script turn that into motion; scene renders it, annotate and evidence say what can
be seen of it; cycle is all of this together, recording writes it to disk.
"""
