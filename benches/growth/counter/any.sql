insert into types values (event.type, 1) on conflict (type) do update set n = types.n + 1;
