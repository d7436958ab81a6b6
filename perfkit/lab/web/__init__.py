"""A real service under real HTTP: what the rig `asgi` starts, asks and models.

traffic.py    what a scenario says of the requests: who asks, on what line, for what, at what prices
payloads.py   the bodies a service answers with, the same for the same object
service.py    the application
serve.py      its process: behind the middleware, under uvicorn, obeying a pipe
process.py    the near end of that pipe: started, told, and ended with us
client.py     an HTTP/1.1 client that counts bytes and decodes nothing
clients.py    the clients of a traffic, each kind behind a line of its bandwidth
play.py       one arm: a service asked by its clients
calibrate.py  what codecs and filters take on this machine, for these answers
model.py      from that to responses, processor time and money, for any setting
keeping.py    which requests find an answer that is kept
best.py       the best coding for a size on a line
"""
