// The broker aedes over WebSocket, on a loopback port that the system chose. Prints the port; ends with its stdin.
import { createServer } from 'node:http'
import { Aedes } from 'aedes'
import { WebSocketServer, createWebSocketStream } from 'ws'

const broker = await Aedes.createBroker({ queueLimit: 10000 })
const http = createServer()
const sockets = new WebSocketServer({ server: http, handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false) })
sockets.on('connection', (socket, request) => broker.handle(createWebSocketStream(socket), request))
http.listen(0, '127.0.0.1', () => console.log(http.address().port))
process.stdin.resume().on('end', () => process.exit(0))
