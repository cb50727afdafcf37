"""How people write layers, mapped onto the one interface: classes, functions with a cache, losses, networks.

Most conventions are not kinds of their own but answers to a few independent questions: how is it made, which way do its
arrays lie, what does it take and return, where does it leave its gradients. A `Calling` holds the answers as plain
data; `recognition` finds them by trying, `ForeignLayer` and `ForeignNetwork` act on them.
"""
