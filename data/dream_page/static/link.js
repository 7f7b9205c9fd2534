// The connection to the server: it reconnects by itself, and says in one sentence how things stand.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
/** The server's close code where another try would do no good. */
const REFUSED = 4000;

export class Link {
  /**
   * @param {{hello: function(object), frame: function(object, Uint8Array), error: function(string),
   *          state: function("open"|"waiting"|"lost", string)}} on what to call
   */
  constructor(on) {
    this.on = on;
    this.wait = FIRST_WAIT_MS;
    this.timer = 0;
    this.isRefused = false;
    document.addEventListener("visibilitychange", () => this.retry());
    addEventListener("online", () => this.retry());
    this.connect();
  }

  connect() {
    this.timer = 0;
    const socket = new WebSocket(`ws://${location.host}/drive`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.hear(data);
    socket.onclose = ({ code, reason }) => this.lost(code, reason);
    this.socket = socket;
  }

  hear(data) {
    if (typeof data !== "string") {
      const length = new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.on.frame(head, new Uint8Array(data, 4 + length));
      return;
    }
    const message = JSON.parse(data);
    if (message.say === "error") {
      this.on.error(message.message);
      return;
    }
    this.wait = FIRST_WAIT_MS;
    this.on.state("open", "Connected");
    this.on.hello(message);
  }

  lost(code, reason) {
    this.isRefused = code === REFUSED;
    if (this.isRefused) {
      this.on.state("lost", `${reason} Reload the page to try again.`);
      return;
    }
    this.on.state("lost", `${reason || "The connection is lost."} Trying again …`);
    this.timer = setTimeout(() => this.retry(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
  }

  /** Try at once if a try is due; a hidden tab waits until it is looked at. */
  retry() {
    if (this.socket.readyState !== WebSocket.CLOSED || document.hidden || this.isRefused) return;
    clearTimeout(this.timer);
    this.connect();
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
