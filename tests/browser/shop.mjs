// What the dashboard is shown with: three projections that can each go wrong in a way of their own, and writers.

import { randomUUID } from 'node:crypto';

const ORDER = `insert into orders (id, user_id, total) values (event.stream_id, (event.data->>'user_id')::int, (event.data->>'total')::numeric);\n`;
const MENDED = ORDER.replace("(event.data->>'user_id')::int", "nullif(event.data->>'user_id', 'seven')::int");

/** Writes the projections' files. */
export function projections(servers) {
  servers.write('orders/schema.sql', 'create table orders (id uuid primary key, user_id int, total numeric not null, status text not null default \'new\');\n');
  servers.write('orders/OrderCreated.sql', ORDER);
  servers.write('orders/StatusChanged.sql', `update orders set status = event.data->>'status' where id = event.stream_id;\n`);
  // Its rows need a function that somebody may forget to install.
  servers.write('customers/schema.sql', 'create table customers (user_id text primary key, orders int not null);\n');
  servers.write('customers/OrderCreated.sql', `insert into customers values (public.customer(event.data->>'user_id'), 1)
    on conflict (user_id) do update set orders = customers.orders + 1;\n`);
  // It sets aside what it cannot apply.
  servers.write('invoices/projection.toml', 'on_error = "park"\n');
  servers.write('invoices/schema.sql', 'create table invoices (order_id uuid primary key, total numeric not null);\ncreate table dunned (order_id uuid primary key);\n');
  servers.write('invoices/OrderCreated.sql', `insert into invoices values (event.stream_id, public.checked((event.data->>'total')::numeric));\n`);
  servers.write('invoices/Dunned.sql', 'insert into dunned values (event.stream_id);\n');
  servers.sql(`create function public.customer(text) returns text language sql immutable as 'select $1'`);
  servers.sql(`create function public.checked(total numeric) returns numeric language plpgsql immutable as
    'begin if total < 0 then raise ''a total of % is below nothing'', total using hint = ''correct the check''; end if; return total; end'`);
}

/** The operator's repairs. */
export const repairs = {
  orders: (servers) => servers.write('orders/OrderCreated.sql', MENDED),
  customers: (servers) => servers.sql(`create function public.customer(text) returns text language sql immutable as 'select $1'`),
  forgetFunction: (servers) => servers.sql('drop function public.customer(text)'),
  invoices: (servers) => servers.sql(`create or replace function public.checked(total numeric) returns numeric language sql immutable as 'select total'`),
};

/** Appends events to a stream over HTTP. */
export async function append(servers, stream, ...events) {
  const answer = await fetch(`${servers.base}/api/v1/streams/${stream}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(servers.token ? { authorization: `Bearer ${servers.token}` } : {}) },
    body: JSON.stringify({ expected_version: 'any', stream_type: 'order', events }),
  });
  if (!answer.ok) throw new Error(`append: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

export async function order(servers, data = {}) {
  const stream = randomUUID();
  await append(servers, stream, { type: 'OrderCreated', data: { user_id: 7, total: 12.5, ...data } });
  return stream;
}

/** Orders that come by themselves, until the answer is called. */
export function trade(servers, every = 150) {
  let running = true;
  const statuses = ['paid', 'packed', 'sent'];
  const going = (async () => {
    for (let nth = 0; running; nth++) {
      const stream = await order(servers, { user_id: (nth % 12) + 1, total: 10 + (nth % 90) });
      await append(servers, stream, { type: 'StatusChanged', data: { status: statuses[nth % 3] } });
      await new Promise((resolve) => setTimeout(resolve, every));
    }
  })();
  return async () => {
    running = false;
    await going;
  };
}
