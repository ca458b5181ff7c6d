// Appends to Emmett's event store on PostgreSQL, as annals bench peers asks: emmett.mjs URL. Each line of its input, such as
// {"callers":128,"milliseconds":600}, lets so many callers append one event at a time with its expected version; the answer is a line with the
// time it took and each call's latency, both in microseconds.
import { createInterface } from 'node:readline';
import { randomUUID } from 'node:crypto';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

const connections = 16; // more are slower: it has one thread
const streamEvents = 100;

const pool = new pg.Pool({ connectionString: process.argv[2], max: connections });
const store = getPostgreSQLEventStore(process.argv[2], {
  connectionOptions: { pooled: true, pool },
});
await store.schema.migrate();

const now = () => Number(process.hrtime.bigint() / 1000n);

async function caller(end, latencies) {
  let stream = '';
  let version = BigInt(streamEvents);
  while (now() < end) {
    if (version === BigInt(streamEvents)) {
      stream = `product-${randomUUID()}`;
      version = 0n;
    }
    const begun = now();
    const { nextExpectedStreamVersion } = await store.appendToStream(
      stream,
      [
        {
          type: 'product.stock_received',
          data: {
            quantity: 1,
            available_after: 17,
            reason: 'delivery 7 of the week, gate 12, checked by the night shift',
          },
        },
      ],
      { expectedStreamVersion: version },
    );
    latencies.push(now() - begun);
    version = nextExpectedStreamVersion;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { callers, milliseconds } = JSON.parse(line);
  const latencies = [];
  const begun = now();
  const end = begun + milliseconds * 1000;
  await Promise.all(Array.from({ length: callers }, () => caller(end, latencies)));
  console.log(JSON.stringify({ took: now() - begun, latencies }));
}
await store.close();
await pool.end();
