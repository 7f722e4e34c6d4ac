"""A lake below mountains in the late afternoon: a height field from filtered noise, rendered by ray marching."""

import numpy as np

from noise import Floats, fractal, spectral

WIDTH, HEIGHT, OVERSAMPLING = 768, 512, 2
GRID = 1024
CELL_M = 14.0  # grid spacing of the height field
SIDE_M = GRID * CELL_M
WATER_M = 0.0
CAMERA = np.array([SIDE_M * 0.5, 120.0, 200.0], np.float32)  # metres: across, up, ahead
PITCH, LENS = 0.045, 1.75
SUN = np.array([-0.80, 0.42, 0.36], np.float32) / np.float32(np.linalg.norm([-0.80, 0.42, 0.36]))
SUN_COLOUR = np.array([1.0, 0.80, 0.56], np.float32) * 2.0
SKY_LIGHT = np.array([0.42, 0.56, 0.86], np.float32) * 0.50
HAZE = np.array([0.60, 0.68, 0.80], np.float32)
FAR_M = 12500.0


def render() -> Floats:
    """The picture in linear light, float32 [HEIGHT, WIDTH, 3]."""
    land = _Land()
    rows, columns = HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING
    picture = np.empty((rows, columns, 3), np.float32)
    x = (np.arange(columns) + 0.5 - columns / 2) / rows * 2
    cos, sin = np.cos(PITCH), np.sin(PITCH)
    for top in range(0, rows, 64):
        y = -(np.arange(top, min(top + 64, rows)) + 0.5 - rows / 2) / rows * 2
        ahead, up = np.full_like(y, LENS) * cos - y * sin, y * cos + LENS * sin
        rays = np.stack(np.broadcast_arrays(x[None, :], up[:, None], ahead[:, None]), 2).reshape(-1, 3)
        rays = (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)
        light = _view(land, np.broadcast_to(CAMERA, rays.shape), rays, first=True)
        picture[top : top + 64] = light.reshape(-1, columns, 3)
    return picture.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean((1, 3))


class _Land:
    """Height, sunlight and normals of the ground on a grid, interpolated between its points."""

    def __init__(self) -> None:
        broad, fine = spectral(GRID, 2.1, 5), spectral(GRID, 1.75, 6)
        ridges = 1 - np.abs(spectral(GRID, 2.0, 7)) * 0.9  # absolute value of noise: sharp crests, round valleys
        ahead = np.arange(GRID)[:, None] / GRID
        across = np.arange(GRID)[None, :] / GRID - 0.5
        bend = across - 0.02 * np.sin(ahead * 16)
        lake = np.exp(-((np.abs(bend) / 0.085) ** 2.5) - np.clip((ahead - 0.10) / 0.17, 0, None) ** 4)
        rise = np.clip(np.hypot(across / 0.26, np.clip(ahead - 0.20, 0, None) / 0.34) - 0.12, 0, 1.15) ** 1.2
        mountains = (0.60 + 0.34 * broad + 0.60 * np.clip(ridges, -1, 1)) * (60 + 1750 * rise)
        ground = mountains * (1 - lake) + 22 * fine * (0.25 + rise) + 40
        self.height = (ground - 190 * lake).astype(np.float32)
        slope_ahead, slope_across = np.gradient(self.height, CELL_M)
        normal = np.stack([-slope_across, np.ones_like(self.height), -slope_ahead], 2)
        self.normal = (normal / np.linalg.norm(normal, axis=2, keepdims=True)).astype(np.float32)
        self.sunlight = self._sunlight()

    def _sunlight(self) -> Floats:
        """Sunlight on the ground: 1 in the sun, 0 in the shadow of a mountain, with soft edges."""
        light = np.ones_like(self.height)
        flat = np.hypot(SUN[0], SUN[2])
        for k in range(2, 240):
            row, column = round(k * SUN[2] / flat), round(k * SUN[0] / flat)
            obstacle = np.roll(self.height, (-row, -column), (0, 1)) - k * CELL_M * SUN[1] / flat
            light = np.minimum(light, np.clip(0.5 - (obstacle - self.height) / (6 + 1.2 * k), 0, 1))
        return light

    def at(self, field: Floats, p: Floats) -> Floats:
        """Bilinear interpolation of a field [GRID, GRID] or [GRID, GRID, 3] at points [N, 3]."""
        column, row = p[:, 0] / CELL_M, p[:, 2] / CELL_M
        c0, r0 = np.floor(column).astype(int), np.floor(row).astype(int)
        shape = (-1,) + (1,) * (field.ndim - 2)
        tc, tr = (column - c0).reshape(shape).astype(np.float32), (row - r0).reshape(shape).astype(np.float32)
        c0, r0, c1, r1 = c0 % GRID, r0 % GRID, (c0 + 1) % GRID, (r0 + 1) % GRID
        near = field[r0, c0] + (field[r0, c1] - field[r0, c0]) * tc
        far = field[r1, c0] + (field[r1, c1] - field[r1, c0]) * tc
        return near + (far - near) * tr


def _view(land: _Land, origin: Floats, rays: Floats, *, first: bool) -> Floats:
    """Light along rays [N, 3]. Reflections in the water are views with `first` False."""
    distance = _march(land, origin, rays)
    p = origin + rays * distance[:, None]
    sky = _sky(rays)
    result = sky.copy()
    wet = (rays[:, 1] < 0) & (p[:, 1] <= WATER_M + 0.05) & (distance < FAR_M)
    ground = np.flatnonzero((distance < FAR_M) & ~wet)
    result[ground] = _ground(land, p[ground], distance[ground])
    water = np.flatnonzero(wet)
    if first and len(water):
        result[water] = _water(land, p[water], rays[water])
    haze = 1 - np.exp(-((distance / 20000) ** 1.2) * (distance < FAR_M))
    glow = np.clip(rays @ (SUN * np.float32([1, 0.3, 1])), 0, 1)[:, None] ** 3
    return result + (HAZE * (0.62 + 0.5 * glow * np.float32([1.1, 0.9, 0.6])) - result) * haze[:, None]


def _march(land: _Land, origin: Floats, rays: Floats) -> Floats:
    """Distance to the ground or the water, else FAR_M. The step length follows the height above ground."""
    distance = np.full(len(rays), 5.0, np.float32)
    active = np.arange(len(rays))
    for _ in range(700):
        p = origin[active] + rays[active] * distance[active, None]
        above = p[:, 1] - np.maximum(land.at(land.height, p), WATER_M)
        distance[active] += np.clip(above * 0.38, 0.5 + distance[active] * 0.004, None) * (above > 0)
        active = active[(above > 0) & (distance[active] < FAR_M) & ~((p[:, 1] > 2600) & (rays[active, 1] > 0))]
        if not len(active):
            break
    distance[active] = np.where(rays[active, 1] > 0.02, FAR_M, distance[active])
    far = (origin + rays * distance[:, None])[:, 1] > 2500
    return np.where(far, FAR_M, np.minimum(distance, FAR_M)).astype(np.float32)


def _ground(land: _Land, p: Floats, distance: Floats) -> Floats:
    """Light from grass, forest, rock and snow, chosen by height and slope."""
    normal = land.at(land.normal, p)
    patches = fractal(p / np.float32(210), 11, 5)
    detail = fractal(p / np.float32(16), 15, 4) * np.clip(1.3 - distance / 5000, 0.15, 1)
    flat = normal[:, 1]
    grass = _blend([0.075, 0.095, 0.022], [0.19, 0.165, 0.048], 0.5 + patches + 0.5 * detail)
    trees = fractal(p * np.float32([1, 0.35, 1]) / np.float32(19), 18, 5)
    forest = _blend([0.006, 0.013, 0.008], [0.052, 0.078, 0.024], 0.5 + 2.6 * trees)
    layers = fractal(p * np.float32([1, 3.2, 1]) / np.float32(130), 22, 5)
    rock = _blend([0.10, 0.09, 0.085], [0.26, 0.235, 0.21], 0.5 + layers + 0.6 * detail)
    snow = np.broadcast_to(np.float32([0.80, 0.84, 0.90]), rock.shape)

    colour = _over(grass, forest, _ramp(0.30 * patches + trees * 0.5 - p[:, 1] / 1700 + 0.28, 0.0, 0.10))
    colour = _over(colour, rock, _ramp(0.90 - flat + 0.16 * layers + p[:, 1] / 4200, 0.16, 0.26))
    colour = _over(colour, snow, _ramp(p[:, 1] + 260 * patches + 900 * (flat - 0.75) + 120 * layers, 1010, 1230))
    sand = np.broadcast_to(np.float32([0.20, 0.17, 0.125]), rock.shape)
    colour = _over(colour, sand, _ramp(-p[:, 1] + 5 * patches, -9, -4))

    sun = np.clip(normal @ SUN + 0.28 * detail * (0.4 + 0.6 * (flat < 0.93)), 0, 1) * land.at(land.sunlight, p)
    light = SUN_COLOUR * sun[:, None] + SKY_LIGHT * (0.45 + 0.55 * flat + 0.25 * detail)[:, None]
    return colour * light


def _water(land: _Land, p: Floats, rays: Floats) -> Floats:
    """Light from water: ripples that reflect sky and mountains."""
    stretch = np.float32([1 / 16, 1, 1 / 6])
    calm = 0.35 + 0.65 * _ramp(fractal(p * np.float32([1 / 420, 1, 1 / 150]), 33, 3), -0.2, 0.25)
    fade = calm * 0.060 / (1 + np.linalg.norm(p - CAMERA, axis=1) / 700) ** 1.2
    tilt = np.stack([fractal(p * stretch, 31, 4) * fade, np.ones(len(p)), fractal(p * stretch, 41, 4) * fade * 1.6], 1)
    normal = (tilt / np.linalg.norm(tilt, axis=1, keepdims=True)).astype(np.float32)
    out = rays - 2 * (rays * normal).sum(1)[:, None] * normal
    out[:, 1] = np.abs(out[:, 1]) + 1e-3
    mirrored = _view(land, p + np.float32([0, 0.5, 0]), out, first=False)
    fresnel = 0.03 + 0.97 * (1 - np.clip(-(rays * normal).sum(1), 0, 1)) ** 5
    deep = np.float32([0.012, 0.035, 0.040])
    return deep + (mirrored - deep) * np.clip(fresnel, 0, 1)[:, None]


def _sky(rays: Floats) -> Floats:
    """Light from the sky: blue above, pale at the horizon, with clouds on a high plane."""
    up = np.clip(rays[:, 1], 0.012, 1)
    clear = _blend([0.70, 0.74, 0.78], [0.105, 0.22, 0.52], (up / 0.55) ** 0.6)
    glow = np.clip(rays @ SUN, 0, 1)[:, None]
    clear = clear + np.float32([0.5, 0.32, 0.14]) * glow**4 * 0.55
    place = np.stack([rays[:, 0] / up, 0 * up, rays[:, 2] / up * 0.8], 1).astype(np.float32) * 0.62
    place = place + fractal(place * 1.7, 61, 3)[:, None] * np.float32([0.35, 0, 0.2])
    density = fractal(place, 51, 7)
    cover = _ramp(density - 0.05, 0.0, 0.30) * _ramp(up, 0.035, 0.22)
    toward_sun = fractal(place + np.float32([-0.10, 0, 0.05]), 51, 6)
    lit = np.clip(0.60 + 2.6 * (density - toward_sun), 0.1, 1.15)
    cloud = _blend([0.40, 0.43, 0.50], [1.25, 1.14, 1.0], lit)
    return _over(clear, cloud, 0.92 * cover)


def _ramp(value: Floats, low: float, high: float) -> Floats:
    """Smoothstep: 0 below `low`, 1 above `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _blend(a: list[float], b: list[float], t: Floats) -> Floats:
    """Mix two colours; `t` is clipped to 0..1."""
    low, high = np.float32(a), np.float32(b)
    return low + (high - low) * np.clip(t, 0, 1)[:, None].astype(np.float32)


def _over(below: Floats, above: Floats, cover: Floats) -> Floats:
    """Composite `above` on `below` with opacity `cover`."""
    return below + (above - below) * cover[:, None].astype(np.float32)
