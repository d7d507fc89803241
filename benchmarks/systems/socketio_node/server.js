// Socket.IO 4 with the Redis Streams adapter and connection state recovery.
//
//   node server.js PORT REDIS_URL MAX_LEN      JWT_SECRET in the environment: tokens are asked for
//
// What a client says:
//   40{"rooms":["r1"],"token":"…"}        joins; on recovery {"pid":"…","offset":"…"} besides
//   421["publish","r1","payload"]         answered 431["stored","<stream id>"] when the stream has it
//   42["m","payload","<stream id>"]       is what everyone in the room hears
"use strict";

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { Redis } = require("ioredis");
const jwt = require("jsonwebtoken");
const { Server } = require("socket.io");

const [port, redisUrl, maxLen] = process.argv.slice(2);
const secret = process.env.JWT_SECRET;
const EVENT = 2; // socket.io-parser: PacketType.EVENT

const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: 600_000, skipMiddlewares: true },
  adapter: createAdapter(new Redis(redisUrl), { maxLen: Number(maxLen) }),
});

// "Discard the initial HTTP request": less memory a connection, says the performance guide.
io.engine.on("connection", (raw) => { raw.request = null; });

if (secret) {
  io.use((socket, next) => {
    jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] }, (error, claims) => {
      socket.data.subject = claims?.sub;
      next(error ?? undefined);
    });
  });
}

const { adapter } = io.of("/");
io.on("connection", (socket) => {
  if (!socket.recovered) socket.join(socket.handshake.auth.rooms ?? []);
  socket.on("publish", async (room, payload, done) => {
    if (!socket.rooms.has(room)) return done("refused");
    // What io.to(room).emit("m", payload) does, and waits for: emit() does not return the promise.
    const packet = { type: EVENT, nsp: "/", data: ["m", payload] };
    await adapter.broadcast(packet, { rooms: new Set([room]), except: new Set(), flags: {} });
    // Only what the stream has is given its offset.
    if (packet.data.length === 3) done("stored", packet.data[2]);
    else done("failed");
  });
});

http.listen(Number(port), "127.0.0.1", 4096, () => console.log("ready"));

process.on("SIGTERM", () => process.exit(0));
