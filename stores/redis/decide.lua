-- Decides the calls of one batch, in their order and at one instant: what core/algorithm/decide.go does, number by number.
--
-- KEYS     the distinct budgets that the calls draw on
-- ARGV[1]  the request: a header, the policies, then the calls (request.go writes it)
--
-- The answer is one string: the instant in µs and how many calls were admitted, as doubles; then for every key what it
-- held before, or one of the marks below. From that the client makes the decisions, by the same arithmetic in integers.
--
-- All numbers are integers below 2^53, which doubles hold exactly. What looks inexact is chosen with care:
--   * a product may exceed 2^53 and be rounded, but only where it is compared with a number below that: rounding never
--     changes the order of a product and a number that is exact;
--   * a quotient is never rounded down by floor(a/b), which is wrong near 2^53, but made by (a - fmod(a, b)) / b;
--   * an entry's life may be longer than needed, never shorter.
--
-- What a key holds, all little-endian, doubles unless said otherwise:
--   b  at, debt                         a bucket
--   f  at, count, start                 a fixed window
--   s  at, width (byte), counts         a sliding window, or what is in flight: width bytes for each, the youngest first
-- In capitals, B F S: the tick until which the key is blocked comes after at.
--
-- A run of the script costs Redis a few µs, of which making functions and tables is a good part. So there are none that
-- can be done without: that is why one loop does it all, and why a state is a list.

local request = ARGV[1]
local read, pack, byte = struct.unpack, struct.pack, string.byte
local fmod, floor = math.fmod, math.floor
local call, try = redis.call, redis.pcall

local MISSING, CORRUPT, UNCOVERED, FAILED = '-', '?', '@', '!'
local TAKE, PEEK, SHADOW, DEBIT = 0, 1, 2, 3 -- and 4, credit
local TOKEN, LEAKY, PERIOD, SLIDING = 0, 1, 3, 4 -- and 2, fixed
local MOST, EXACT = 4503599627370496, 9007199254740991 -- 2^52, at which debts and counts saturate; 2^53 - 1

-- A state: the tick of its last change; debt, count or sum; the tick until which it is blocked, or 0; the present tick, never
-- before its last change; where the window starts and ends, or in STOP the number of the present sub-window; the policy of
-- the last change, if any; a mark; and of sliding windows the counts, unless what is held of them still holds.
local AT, USED, TILL, NOW, START, STOP, BY, MARK, COUNTS = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- A policy. X is the debt that a bucket drains within ten years, or the ticks of a sub-window; Y how many of these there are.
local KIND, TICK, LIMIT, CAPACITY, WINDOW, BLOCK, X, Y, EDGES = 1, 2, 3, 4, 5, 6, 7, 8, 10

-- Before Redis 7 a script that read the clock may write only if its effects are replicated. Since 5 that is the default,
-- which can be turned off.
if not redis.REDIS_VERSION_NUM then
	redis.replicate_commands()
end

local clock, policies, pos = read('<dH', request)
local time = call('TIME')
local sec, usec = time[1] + 0, time[2] + 0
local shift = 0 -- from the request's clock, which only tests set, to Redis's, by which entries expire; in µs
if clock > 0 then
	shift = sec * 1000000 + usec - clock + 3600000000 -- an hour more, since that clock may stand still or step back
	usec = fmod(clock, 1000000)
	sec = (clock - usec) / 1000000
end
local now = sec * 1000000 + usec

local policy = {}
for i = 1, policies do
	local p = { read('<Bddddddd', request, pos) }
	pos = p[9]
	if p[KIND] == PERIOD then
		p[EDGES] = { read('<dddd', request, pos) }
		pos = pos + 32
	end
	policy[i] = p
end

-- What the keys hold. MGET is silent about what is no string: that is found out where it seems to hold nothing. 0
-- stands for what is foreign.
local keys = #KEYS
local state = {}
local held
if keys == 1 then
	held = { try('GET', KEYS[1]) }
	if type(held[1]) == 'table' then
		if not string.find(held[1].err, 'WRONGTYPE', 1, true) then
			return held[1] -- such as NOPERM: Redis's own error is the answer
		end
		held[1] = 0
	end
else
	held = call('MGET', unpack(KEYS))
	local none = {}
	for k = 1, keys do
		if not held[k] then
			none[#none + 1] = KEYS[k]
		end
	end
	if #none > 0 and call('EXISTS', unpack(none)) > 0 then
		for k = 1, keys do
			if not held[k] and call('EXISTS', KEYS[k]) > 0 then
				held[k] = 0
			end
		end
	end
end

-- The calls. One of several charges is gone through three times: to see that nothing is amiss with any of its keys, to see
-- whether all that bind fit, and to spend. One charge is spent at once, as often as it comes in a row.
local ALONE, LOOK, BIND, SPEND = 0, 1, 2, 3
local phase, left, first, all, sound, spend = ALONE, 0, 0, 0, true, true
local admitted, size = 0, #request

while pos <= size do
	-- A record: the key, the policy, the mode, how many more charges its call has, how often it comes in a row, the cost.
	local from = pos
	local k, i, mode, more, times, cost, at, taken
	k, i, mode, more, times, cost, pos = read('<HHBHHd', request, pos)
	if mode > DEBIT then -- a credit: the tick of the take, and what it spent
		at, taken, pos = read('<dd', request, pos)
	end
	local p = policy[i]
	local kind = p[KIND]

	local s = state[k]
	if not s then
		-- The state as of now. All policies that share a key have the same kind, window and tick.
		local tick, t, v = p[TICK], now, held[k]
		if tick == 1000 then
			t = sec * 1000 + floor(usec / 1000)
		elseif tick > 1000 then
			t = sec
		end
		s = { 0, 0, 0, t, 0, 0, false, false, false }
		state[k] = s
		local counts
		if v then
			-- It is a state to the last byte, or corrupt.
			local ok, tag, since, used, till, start, next = false, byte(v), 0, 0, 0, 0, 0
			if v == 0 or #v < 11 then
				tag = 0
			elseif tag >= 97 then
				since, next = read('<d', v, 2)
			elseif #v >= 19 then
				since, till, next = read('<dd', v, 2)
				tag = tag + 32
				-- No block is longer than ten years; one that seems to be would lock the key.
				if not (till >= 0 and till <= since + 315360000000000 / tick and floor(till) == till) then
					tag = 0
				end
			end
			if kind <= LEAKY then
				if tag == 98 and #v == next + 7 then
					used, ok = read('<d', v, next), true
				end
			elseif kind <= PERIOD then
				if tag == 102 and #v == next + 15 then
					used, start = read('<dd', v, next)
					ok = start >= 0 and start <= since and floor(start) == start
				end
			elseif tag == 115 then
				local width, n = byte(v, next), p[Y]
				if #v == next + width * n then
					if width == 1 then
						counts = { byte(v, next + 1, -1) }
					elseif width <= 7 and width > 0 then
						counts = { read('<' .. string.rep('I' .. width, n), v, next + 1) }
						counts[n + 1] = nil -- the position after them
					end
					for a = 1, counts and n or 0 do
						used = used + counts[a]
					end
					ok = counts
				end
			end
			if ok and since >= 0 and since <= EXACT and floor(since) == since and used >= 0 and used <= MOST and floor(used) == used then
				if since <= t then
					s[AT], s[USED], s[START] = since, used, start
				elseif since - t <= 10000000 / tick then -- the clock stepped back
					s[AT], s[USED], s[START], s[NOW] = since, used, start, since
					t = since
				else -- more than 10 s ahead of the clock: as one never seen
					till, counts = 0, nil
				end
				if till > t then
					s[TILL] = till
				end
			else
				s[MARK] = CORRUPT
			end
		end
		if s[MARK] then
			-- left as it is
		elseif kind == SLIDING then
			local sub, n = p[X], p[Y]
			local stop = (t - fmod(t, sub)) / sub
			s[STOP] = stop
			local since = s[AT]
			local since = s[AT]
			local old = counts and stop - (since - fmod(since, sub)) / sub or n
			if not counts or old > 0 then -- the counts move on to the present sub-window
				local sum, c = 0, {}
				for a = 1, n do
					c[a] = a > old and counts[a - old] or 0
					sum = sum + c[a]
				end
				counts, s[USED] = c, sum
			end
			s[COUNTS] = counts
		elseif kind > LEAKY then
			local start, stop
			if kind == PERIOD then
				local edges = p[EDGES]
				for e = 1, 3 do
					if edges[e] <= t and t < edges[e + 1] then
						start, stop = edges[e], edges[e + 1]
					end
				end
				if not start then -- the clocks are further apart than the edges that the client sent: it has to send others
					s[MARK] = UNCOVERED
				end
			else
				start = t - fmod(t, p[WINDOW])
				stop = start + p[WINDOW]
			end
			if s[START] ~= start then
				s[START], s[USED] = start, 0
			end
			s[STOP] = stop
		end
	end

	if left == 0 then
		phase, left = ALONE, 1
		if more > 0 then
			phase, left, first, all, sound, spend = LOOK, more + 1, from, more + 1, true, true
		end
	end
	left = left - 1

	local act = false
	if phase == ALONE then
		act = not s[MARK]
	elseif phase == LOOK then
		sound = sound and not s[MARK]
	elseif phase == BIND then
		act = mode <= PEEK
	else
		act = mode > PEEK or mode == TAKE and spend
	end

	if act then
		-- All in the units of USED: what is used, what the charge comes to, how much there is room for.
		local used, unit, room, t = s[USED], cost, p[CAPACITY], s[NOW]
		local age, delta, change = 1, 0, false
		if kind <= LEAKY then
			unit, room = cost * p[WINDOW], room * p[WINDOW]
			if used > room and used > p[X] then -- after a debit, or a limit that is lower by now
				used = p[X]
			end
			local drained = (t - s[AT]) * p[LIMIT]
			used = drained < used and used - drained or 0
		end

		if mode <= SHADOW then
			local possible, blocked = cost <= p[CAPACITY], s[TILL] ~= 0
			local fits, after, n = true, used, 0
			for _ = 1, times do
				fits = possible and after <= room - unit
				if blocked or not fits then
					break -- nor are the same calls after it allowed
				end
				n = n + 1
				if mode == SHADOW or mode == TAKE and phase ~= BIND then
					after = after + unit
				end
			end
			delta = after - used
			if n < times then
				spend = spend and phase ~= BIND
				if possible and not fits and not blocked and p[BLOCK] > 0 and mode ~= PEEK then
					s[TILL], change = t + p[BLOCK], true
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
				local most = kind <= LEAKY and p[X] or MOST
				delta = unit < most - used and unit or most - used
				change = cost > 0 and kind ~= SLIDING
			elseif kind == TOKEN then
				local rest = taken * p[WINDOW] -- what of the take has not drained by itself
				if rest > MOST then
					rest = MOST
				end
				local drained = t > at and (t - at) * p[LIMIT] or 0
				rest = drained < rest and rest - drained or 0
				delta = -math.min(unit, rest, used)
			elseif kind == SLIDING then
				age = s[STOP] - (at - fmod(at, p[X])) / p[X] + 1
				if age >= 1 and age <= p[Y] then
					delta = -math.min(cost, s[COUNTS][age])
				end
			elseif kind > LEAKY and s[START] <= at and at < s[STOP] then
				delta = -math.min(cost, used)
			end
		end

		if delta ~= 0 or change then
			s[USED], s[AT], s[BY] = used + delta, t, p
			if kind == SLIDING and delta ~= 0 then
				s[COUNTS][age] = s[COUNTS][age] + delta
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

-- The first write is by call: if Redis can't write at all, it raises Redis's own error while nothing has been written.
-- Should a later one fail, only those who drew on that key are told.
local write, ends = call, {}
for k = 1, keys do
	local s = state[k]
	local p = s[BY]
	if p then
		-- For how many ticks it has to be kept; 0: it is as one never seen.
		local kind, used, till, ticks = p[KIND], s[USED], s[TILL], 0
		if used > 0 then
			if kind <= LEAKY then
				ticks = floor(used / p[LIMIT]) + 1
			elseif kind == SLIDING then
				local age, counts = 1, s[COUNTS]
				while counts[age] == 0 do
					age = age + 1
				end
				ticks = (s[STOP] - age + 1 + p[Y]) * p[X] - s[NOW]
			else
				ticks = s[STOP] - s[NOW]
			end
		end
		if till - s[NOW] > ticks then
			ticks = till - s[NOW]
		end
		local done
		if ticks > 0 then
			local value
			if kind == SLIDING then
				local width = used < 256 and 1 or used < 65536 and 2 or used < 4294967296 and 4 or 7
				local counts
				if width == 1 then
					counts = string.char(unpack(s[COUNTS]))
				else
					counts = pack('<' .. string.rep('I' .. width, p[Y]), unpack(s[COUNTS]))
				end
				value = (till > 0 and pack('<BddB', 83, s[AT], till, width) or pack('<BdB', 115, s[AT], width)) .. counts
			elseif kind > LEAKY then
				value = till > 0 and pack('<Bdddd', 70, s[AT], till, used, s[START]) or pack('<Bddd', 102, s[AT], used, s[START])
			else
				value = till > 0 and pack('<Bddd', 66, s[AT], till, used) or pack('<Bdd', 98, s[AT], used)
			end
			-- The end in ms, rounded up to the next eighth of a second: so that many share it, since writing it as text is dear.
			local at = floor(((s[NOW] + ticks) * p[TICK] + shift) / 125000) + 1
			local text = ends[at]
			if not text then
				text = string.format('%.0f', at * 125)
				ends[at] = text
			end
			done = write('SET', KEYS[k], value, 'PXAT', text)
		elseif held[k] then
			done = write('DEL', KEYS[k])
		end
		if done then
			write = try
			if type(done) == 'table' and done.err then
				s[MARK] = FAILED
			end
		end
	end
end

for k = 1, keys do
	held[k] = state[k][MARK] or held[k] or MISSING
end
return pack('<dd', now, admitted) .. (keys == 1 and held[1] or table.concat(held))
