// The event stream's frames. Read by `fetch` and not by `EventSource`, which hides the status of a refusal, takes
// only the types it was told beforehand, and cannot begin after an id of our choice.

export interface Frame {
  id?: string;
  event?: string;
  data: string;
  /** Lines that begin with a colon: the server says there why it hangs up. */
  comment?: string;
}

export class FrameReader {
  private rest = '';
  private frame: { id?: string; event?: string; data: string[]; comment?: string } = { data: [] };

  /** Takes the next piece of the stream, wherever it was cut, and returns the frames that are whole now. */
  push(piece: string): Frame[] {
    const text = this.rest + piece;
    const lines = text.split('\n');
    this.rest = lines.pop() ?? '';
    const frames: Frame[] = [];
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') {
        const { data, ...rest } = this.frame;
        if (data.length > 0 || rest.comment !== undefined) frames.push({ ...rest, data: data.join('\n') });
        this.frame = { data: [] };
        continue;
      }
      const colon = line.indexOf(':');
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (colon === 0) this.frame.comment = value;
      else if (name === 'data') this.frame.data.push(value);
      else if (name === 'event') this.frame.event = value;
      else if (name === 'id') this.frame.id = value;
    }
    return frames;
  }
}
