-- Decides the calls of one batch at one instant: what core/algorithm/decide.go does, number by number.
--
-- KEYS     the distinct budgets that the calls draw on
-- ARGV[1]  the request: charges, one after the other (request.go writes it)
-- ARGV[2]  only in tests: the time in µs
--
-- The answer is one string: the instant in µs and how many calls were admitted, as doubles; then for every key what it
-- held before, or one of the marks below. From that the client makes the decisions, by the same arithmetic in integers.
--
-- All numbers are integers below 2^53, which doubles hold exactly. What looks inexact is chosen with care:
--   * a product may exceed 2^53 and be rounded, but only where it is compared with a number below that: rounding never
--     changes the order of a product and a number that is exact;
--   * a quotient is rounded down by (a - a % b) / b: a % b is a - floor(a/b)*b, and a/b, if it is no integer, is further below
--     the next one than rounding reaches, as long as a is below 2^53;
--   * an entry's life may be longer than needed, never shorter.
--
-- What a key holds, all little-endian, doubles unless said otherwise:
--   b  at, debt, end                    a bucket; end is the tick until which the entry lives at least
--   f  at, count, start                 a fixed window
--   s  at, width (byte), counts         a sliding window, or what is in flight: width bytes for each, the youngest first
-- In capitals, B F S: the tick until which the key is blocked comes after at.
--
-- A run of the script costs Redis a few µs, of which making functions, tables and strings is a good part. So there are none
-- that can be done without: one loop does it all, and the key at hand, its policy and its state are local variables.

local request, names, keys = ARGV[1], KEYS, #KEYS
local read, pack, byte, char, unpack = struct.unpack, struct.pack, string.byte, string.char, unpack
local call, try = redis.call, redis.pcall

local MISSING, CORRUPT, UNCOVERED, FAILED = '-', '?', '@', '!'
local TAKE, PEEK, SHADOW, DEBIT = 0, 1, 2, 3 -- and 4, credit
local TOKEN, LEAKY, PERIOD, SLIDING = 0, 1, 3, 4 -- and 2, fixed
local MOST, EXACT = 4503599627370496, 9007199254740991 -- 2^52, at which debts and counts saturate; 2^53 - 1

-- Before Redis 7 a script that read the clock may write only if its effects are replicated. Since 5 that is the default,
-- which can be turned off.
if not redis.REDIS_VERSION_NUM then
	redis.replicate_commands()
end

local time = call('TIME')
local sec, usec = time[1] + 0, time[2] + 0
local shift = 0 -- from the test's clock to Redis's, by which entries expire; in µs
if ARGV[2] then
	local clock = ARGV[2] + 0
	shift = sec * 1000000 + usec - clock + 3600000000 -- an hour more, since that clock may stand still or step back
	usec = clock % 1000000
	sec = (clock - usec) / 1000000
end

-- What the keys hold. MGET is silent about what is no string: that is found out where it seems to hold nothing. '' stands
-- for what is foreign.
local held
if keys == 1 then
	local v = try('GET', names[1])
	if v and v.err then -- a string has no err, too
		if not string.find(v.err, 'WRONGTYPE', 1, true) then
			return v -- such as NOPERM: Redis's own error is the answer
		end
		v = ''
	end
	held = { v }
else
	held = call('MGET', unpack(names))
	local none = {}
	for k = 1, keys do
		if not held[k] then
			none[#none + 1] = names[k]
		end
	end
	if #none > 0 and call('EXISTS', unpack(none)) > 0 then
		for k = 1, keys do
			if not held[k] and call('EXISTS', names[k]) > 0 then
				held[k] = ''
			end
		end
	end
end

-- The policy at hand. X is the debt that a bucket drains within ten years, or the ticks of a sub-window; Y how many of these
-- there are. Then, of calendar periods, the edges around now; and the time in its ticks.
local kind, tick, limit, capacity, window, block, x, y, edge1, edge2, edge3, edge4, now

-- The key at hand, and its state: the tick of its last change; debt, count or sum; the tick until which it is blocked, or 0; the
-- present tick, never before its last change; where the window starts and ends, or in STOP the number of the present sub-window;
-- the tick until which its entry lives at least; the limit by which it was changed, if it was; a mark; and of sliding windows the
-- counts. All policies that share a key have the same kind, window and tick.
local key, at, used, till, t, start, stop, lives, by, mark, counts = 0, 0, 0, 0, 0, 0, 0, 0, false, false, false

-- The calls. All that have one charge, and are on one key, come in a row: the key is taken up, decided about, and written.
-- A key on which calls of several charges draw is kept aside until the end. Such a call is gone through three times: to see
-- that nothing is amiss with any of its keys, to see whether all that bind fit, and to spend.
local ALONE, LOOK, BIND, SPEND = 0, 1, 2, 3
local phase, left, first, all, sound, spend = ALONE, 0, 0, 0, true, true
local keep, kept, last = false, false, 0
local pos, size, admitted = 1, #request, 0
local write, expiry, text = call, 0, ''

-- The charge at hand: where it is in the request, the key, what comes with it, the mode, how many more charges its call has,
-- how often it comes in a row, on how many of the keys that follow it comes as well, the cost.
local from, k, flags, mode, more, times, run, cost = 1, 0, 0, 0, 0, 0, 0, 0

while true do
	-- The next charge. After the last, the keys that were kept.
	if run > 0 then
		run, k = run - 1, k + 1
	elseif pos <= size then
		from = pos
		k, flags, mode, more, times, run, cost, pos = read('<HBBHHHd', request, pos)
	else
		k, flags, mode, times = 0, 0, 0, 0
		if keep then -- the last key at hand is written at once
			keep = false
			if kept then
				kept[key] = false
			end
		end
		while k == 0 and kept and last < keys do
			last = last + 1
			k = kept[last] and last or 0
		end
	end

	-- The key at hand is put away: kept, or written if it was changed.
	if k ~= key and key > 0 then
		if keep then
			kept = kept or {}
			kept[key] = { at, used, till, t, start, stop, lives, by, mark, counts, kind, tick, x, y }
		elseif by then
			-- For how many ticks it has to be kept; 0: it is as one never seen.
			local ticks = 0
			if used > 0 then
				if kind <= LEAKY then
					ticks = used / by
					ticks = ticks - ticks % 1 + 1
				elseif kind == SLIDING then
					local age = 1
					while counts[age] == 0 do
						age = age + 1
					end
					ticks = (stop - age + 1 + y) * x - t
				else
					ticks = stop - t
				end
			end
			if till - t > ticks then
				ticks = till - t
			end
			local done
			if ticks > 0 then
				-- Moving the end of an entry is dear, and so is writing it as text. So an entry may live longer than it has to,
				-- and its end stays where it is as long as it is right to a quarter of what the entry has to live, and two
				-- seconds. That of a bucket, which every take moves on, is set about that late.
				local needed, quarter, second = t + ticks, (ticks - ticks % 4) / 4, 1000000 / tick
				local stays = lives >= needed and lives <= needed + quarter + 2 * second
				if not stays then
					lives = kind <= LEAKY and needed + quarter + second or needed
				end
				local value
				if kind <= LEAKY then
					value = till > 0 and pack('<Bdddd', 66, at, till, used, lives) or pack('<Bddd', 98, at, used, lives)
				elseif kind <= PERIOD then
					value = till > 0 and pack('<Bdddd', 70, at, till, used, start) or pack('<Bddd', 102, at, used, start)
				else
					local width, packed = used < 256 and 1 or used < 65536 and 2 or used < 4294967296 and 4 or 7
					if width == 1 then
						packed = char(unpack(counts))
					else
						packed = pack('<' .. string.rep('I' .. width, y), unpack(counts))
					end
					value = till > 0 and pack('<BddBc0', 83, at, till, width, packed) or pack('<BdBc0', 115, at, width, packed)
				end
				if stays then
					done = write('SET', names[key], value, 'KEEPTTL')
				else
					-- In ms, rounded up to the next eighth of a second, so that many keys share it; in two parts, so that 32 bits
					-- suffice for each.
					local ends = (lives * tick + shift) / 125000
					ends = (ends - ends % 1 + 1) * 125
					if ends ~= expiry then
						local low = ends % 1000000
						expiry, text = ends, string.format('%d%06d', (ends - low) / 1000000, low)
					end
					done = write('SET', names[key], value, 'PXAT', text)
				end
			elseif held[key] ~= MISSING then
				done = write('DEL', names[key])
				done = type(done) == 'table' and done or {} -- how many keys it deleted, unless it failed
			end
			-- The first write is by call: if Redis can't write at all, it raises Redis's own error while nothing has been
			-- written. Should a later one fail, only those who drew on that key are told.
			if done then
				write = try
				if done.err then
					held[key] = FAILED
				end
			end
		end
	end
	if k == 0 then
		break
	end

	-- The policy, if it is another.
	if flags % 2 == 1 then
		kind, tick, limit, capacity, window, block, x, y, pos = read('<Bddddddd', request, pos)
		if kind == PERIOD then
			edge1, edge2, edge3, edge4, pos = read('<dddd', request, pos)
		end
		flags = flags - 1 -- it is at hand for the keys that follow
		if tick == 1 then
			now = sec * 1000000 + usec
		elseif tick == 1000 then
			now = sec * 1000 + (usec - usec % 1000) / 1000
		else
			now = sec
		end
	end
	local since, taken -- of a credit: the tick of the take, and what it spent
	if mode > DEBIT then
		since, taken, pos = read('<dd', request, pos)
	end

	-- Another key is taken up: as it was kept, or its state as of now.
	if k ~= key then
		key, keep = k, flags > 1
		local s = kept and kept[k]
		if s then
			at, used, till, t, start, stop, lives, by, mark, counts = unpack(s)
			if times == 0 then
				kind, tick, x, y = unpack(s, 11)
			end
		else
			at, used, till, start, stop, lives = 0, 0, 0, 0, 0, 0
			t, by, mark, counts = now, false, false, false
			local v = held[k]
			if v then
				-- It is a state to the last byte, or corrupt; no state is from before 0.
				local tag, want = 0, -1
				if kind <= PERIOD then
					if #v == 25 then
						tag, at, used, lives = read('<Bddd', v)
						want = kind <= LEAKY and 98 or 102
					elseif #v == 33 then
						tag, at, till, used, lives = read('<Bdddd', v)
						want = kind <= LEAKY and 66 or 70
					end
					if tag ~= want then
						at = -1
					elseif kind > LEAKY then
						start, lives = lives, 0
					end
				else
					local width, next = 0, 0
					if #v > 10 then
						tag, at, width, next = read('<BdB', v)
					end
					if tag == 83 and #v > 18 then
						tag, at, till, width, next = read('<BddB', v)
					elseif tag ~= 115 then
						next = 0
					end
					if next == 0 or width == 0 or width > 7 or #v ~= next - 1 + width * y then
						at = -1
					elseif width == 1 then
						counts = { byte(v, next, -1) }
					else
						counts = { read('<' .. string.rep('I' .. width, y), v, next) }
						counts[y + 1] = nil -- the position after them
					end
					for a = 1, counts and y or 0 do
						used = used + counts[a]
					end
				end
				-- No block is longer than ten years; one that seems to be would lock the key.
				if not (at >= 0 and at <= EXACT and at % 1 == 0 and used >= 0 and used <= MOST and used % 1 == 0
					and start >= 0 and start <= at and start % 1 == 0 and lives >= 0 and lives % 1 == 0
					and till >= 0 and till <= at + 315360000000000 / tick and till % 1 == 0) then
					mark, held[k] = CORRUPT, CORRUPT
				elseif at > t then
					if at - t <= 10000000 / tick then -- the clock stepped back
						t = at
					else -- more than 10 s ahead of the clock: as one never seen
						v, at, used, till, start, counts = false, 0, 0, 0, 0, false
					end
				end
				if till <= t then
					till = 0
				end
			else
				held[k] = MISSING
			end
			if mark then
				-- left as it is
			elseif kind == SLIDING then
				stop = (t - t % x) / x
				local old = y
				if counts then
					local age, last = 1, (at - at % x) / x
					while counts[age] == 0 do
						age = age + 1
					end
					old, lives = stop - last, (last - age + 1 + y) * x
					lives = lives > till and lives or till
				end
				if not counts or old > 0 then -- the counts move on to the present sub-window
					local c = {}
					used = 0
					for a = 1, y do
						c[a] = a > old and counts[a - old] or 0
						used = used + c[a]
					end
					counts = c
				end
			elseif kind > LEAKY then
				local begin
				if kind == PERIOD then
					if edge1 <= t and t < edge2 then
						begin, stop = edge1, edge2
					elseif edge2 <= t and t < edge3 then
						begin, stop = edge2, edge3
					elseif edge3 <= t and t < edge4 then
						begin, stop = edge3, edge4
					else -- the clocks are further apart than the edges that the client sent: it has to send others
						mark, held[k] = UNCOVERED, UNCOVERED
					end
				else
					begin = t - t % window
					stop = begin + window
				end
				if start ~= begin then
					start, used = begin, 0
				elseif v then
					lives = used > 0 and math.max(stop, till) or till
				end
			end
		end
	end

	if times > 0 then -- which a key that was kept has not
		if left == 0 then
			phase, left = ALONE, 1
			if more > 0 then
				phase, left, first, all, sound, spend = LOOK, more + 1, from, more + 1, true, true
			end
		end
		left = left - 1

		local act = false
		if phase == ALONE then
			act = not mark
		elseif phase == LOOK then
			sound = sound and not mark
		elseif phase == BIND then
			act = mode <= PEEK
		else
			act = mode > PEEK or mode == TAKE and spend
		end

		if act then
			-- All in the units of USED: what is used now, what the charge comes to, how much there is room for.
			local before, unit, room = used, cost, capacity
			local age, delta, change = 1, 0, false
			if kind <= LEAKY then
				unit, room = cost * window, capacity * window
				if before > room and before > x then -- after a debit, or a limit that is lower by now
					before = x
				end
				local drained = (t - at) * limit
				before = drained < before and before - drained or 0
			end

			if mode <= SHADOW then
				local fits, after, n = true, before, 0
				for _ = 1, times do
					fits = cost <= capacity and after <= room - unit
					if not fits or till > 0 then
						break -- nor are the same calls after it allowed
					end
					n = n + 1
					if mode == SHADOW or mode == TAKE and phase ~= BIND then
						after = after + unit
					end
				end
				delta = after - before
				if n < times then
					spend = spend and phase ~= BIND
					if block > 0 and not fits and till == 0 and cost <= capacity and mode ~= PEEK then
						till, change = t + block, true
					end
				end
				if phase == ALONE then
					admitted = admitted + n
				end
			else
				if phase == ALONE then
					admitted = admitted + 1
				end
				if mode == DEBIT then
					local most = kind <= LEAKY and x or MOST
					delta = unit < most - before and unit or most - before
					change = cost > 0 and kind ~= SLIDING
				elseif kind == TOKEN then
					local rest = taken * window -- what of the take has not drained by itself
					if rest > MOST then
						rest = MOST
					end
					local drained = t > since and (t - since) * limit or 0
					rest = drained < rest and rest - drained or 0
					delta = -math.min(unit, rest, before)
				elseif kind == SLIDING then
					age = stop - (since - since % x) / x + 1
					if age >= 1 and age <= y then
						delta = -math.min(cost, counts[age])
					end
				elseif kind > LEAKY and start <= since and since < stop then
					delta = -math.min(cost, before)
				end
			end

			if delta ~= 0 or change then
				used, at, by = before + delta, t, limit
				if kind == SLIDING and delta ~= 0 then
					counts[age] = counts[age] + delta
				end
			end
		end

		if left == 0 and phase ~= ALONE then
			if phase == LOOK and sound then
				phase, left, pos = BIND, all, first
			elseif phase == BIND then
				phase, left, pos = SPEND, all, first
			elseif phase == SPEND and spend then
				admitted = admitted + 1
			end
		end
	end
end

return pack('<ddc0', sec * 1000000 + usec, admitted, keys == 1 and held[1] or table.concat(held))
