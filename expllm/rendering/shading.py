"""Compiled loops over pixels that turn visible triangles into colours."""

import numpy as np
from numba import njit

SKIN, GARMENT, TONGUE, FRAME, CLOTH, TEETH, EYE = range(7)
"""Materials of the opaque triangles; those between the skin and the teeth have one plain colour each."""

# By material: how far light wraps around the edge, strength and sharpness of the highlight.
_WRAP = np.array([0.25, 0.15, 0.05, 0.05, 0.2, 0.05, 0.05], np.float32)
_SPECULAR = np.array([0.06, 0.0, 0.15, 0.3, 0.0, 0.2, 0.54], np.float32)
_SHININESS = np.array([18, 1, 30, 40, 1, 60, 180], np.float32)
_SOFT_WRAP = np.float32(0.3)
"""How much further a wholly soft light reaches around an edge."""

_SHADOW_BIAS = np.float32(0.05)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _bilinear(image, x, y):
    """The first three channels at pixel coordinates (pixel centres are whole numbers)."""
    x = min(max(x, np.float32(0)), np.float32(image.shape[1] - 1.001))
    y = min(max(y, np.float32(0)), np.float32(image.shape[0] - 1.001))
    i, j = int(x), int(y)
    fx, fy = x - np.float32(i), y - np.float32(j)
    p, q = (1 - fx) * (1 - fy), fx * (1 - fy)
    r, s = (1 - fx) * fy, fx * fy
    return (
        image[j, i, 0] * p + image[j, i + 1, 0] * q + image[j + 1, i, 0] * r + image[j + 1, i + 1, 0] * s,
        image[j, i, 1] * p + image[j, i + 1, 1] * q + image[j + 1, i, 1] * r + image[j + 1, i + 1, 1] * s,
        image[j, i, 2] * p + image[j, i + 1, 2] * q + image[j + 1, i, 2] * r + image[j + 1, i + 1, 2] * s,
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _textured(texture, u, v):
    height, width = texture.shape[0], texture.shape[1]
    half = np.float32(0.5)
    return _bilinear(texture, u * width - half, (1 - v) * height - half)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _lit(shadow, x, y, z, spread):
    """The share of light that arrives at a point of the shadow map, over nine samples so far apart."""
    size = shadow.shape[0]
    if x < 0 or y < 0 or x >= size or y >= size:
        return np.float32(1)
    count = np.float32(0)
    for oy in (-spread, np.float32(0), spread):
        for ox in (-spread, np.float32(0), spread):
            i = min(max(int(x + ox), 0), size - 1)
            j = min(max(int(y + oy), 0), size - 1)
            if shadow[j, i] < z + _SHADOW_BIAS:
                count += 1
    return count / 9


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _shares(screen, i, j, k, x, y):
    """The shares of a triangle's three points in the middle of pixel x, y."""
    x2, y2 = screen[k, 0], screen[k, 1]
    area = (screen[j, 1] - y2) * (screen[i, 0] - x2) + (x2 - screen[j, 0]) * (screen[i, 1] - y2)
    px, py = x + np.float32(0.5) - x2, y + np.float32(0.5) - y2
    a = ((screen[j, 1] - y2) * px + (x2 - screen[j, 0]) * py) / area
    b = ((y2 - screen[i, 1]) * px + (screen[i, 0] - x2) * py) / area
    return a, b, 1 - a - b


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _mixed(values, i, j, k, a, b, c):
    """The three values at three points, mixed by their shares."""
    return (
        a * values[i, 0] + b * values[j, 0] + c * values[k, 0],
        a * values[i, 1] + b * values[j, 1] + c * values[k, 1],
        a * values[i, 2] + b * values[j, 2] + c * values[k, 2],
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _unit(x, y, z):
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-9)
    return x / length, y / length, z / length


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _affine(rows, x, y, z):
    return (
        rows[0, 0] * x + rows[0, 1] * y + rows[0, 2] * z + rows[0, 3],
        rows[1, 0] * x + rows[1, 1] * y + rows[1, 2] * z + rows[1, 3],
        rows[2, 0] * x + rows[2, 1] * y + rows[2, 2] * z + rows[2, 3],
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _facing_out(nx, ny, nz):
    """A softened normal for the inside of the mouth, whose own are too ragged at this size."""
    half = np.float32(0.5) if nz >= 0 else np.float32(-0.5)
    return _unit(nx * half, ny * half, nz * half + np.float32(0.6))


@njit(cache=True, fastmath=True, nogil=True)
def _albedo(albedo, kind, u, v, colours):
    """Put a material's own colour into `albedo`."""
    skin, skin_gain, teeth, eye, plain = colours
    if kind == SKIN:
        red, green, blue = _textured(skin, u, v)
        albedo[0], albedo[1], albedo[2] = red * skin_gain[0], green * skin_gain[1], blue * skin_gain[2]
    elif kind == TEETH:
        albedo[0], albedo[1], albedo[2] = _textured(teeth, u, v)
    elif kind == EYE:
        albedo[0], albedo[1], albedo[2] = _textured(eye, u, v)
    else:
        albedo[:] = plain[kind - 1]


@njit(cache=True, fastmath=True, nogil=True)
def _painted(albedo, paint, x, y):
    """Cover `albedo` with what is painted there on the map over the face; how much skin stays bare."""
    red, green, blue = _bilinear(paint, x, y)
    bare = 1 - paint[min(int(y), paint.shape[0] - 1), min(int(x), paint.shape[1] - 1), 3]
    albedo[0] = albedo[0] * bare + red
    albedo[1] = albedo[1] * bare + green
    albedo[2] = albedo[2] * bare + blue
    return bare


@njit(cache=True, fastmath=True, nogil=True)
def _folded(folds, axes, x, y, bare, nx, ny, nz):
    """The normal tipped by the folds of the skin there, and how much light gets into them."""
    dark, sx, sy = _bilinear(folds, x, y)
    share = np.float32(0.3) + np.float32(0.7) * bare  # hair hides most of a fold
    sx, sy = sx * share, sy * share
    nx += sx * axes[0, 0] + sy * axes[1, 0]
    ny += sx * axes[0, 1] + sy * axes[1, 1]
    nz += sx * axes[0, 2] + sy * axes[1, 2]
    return nx, ny, nz, 1 - dark * share


@njit(cache=True, fastmath=True, nogil=True)
def _arriving(light, kind, wx, wy, wz, nx, ny, nz):
    """The share of the lamp's light that arrives at a point."""
    shadow, axes, _, lamp = light
    off = np.float32(0.03)
    sx, sy, sz = _affine(axes, wx + nx * off, wy + ny * off, wz + nz * off)
    lit = _lit(shadow, sx, sy, sz, np.float32(1) + np.float32(3.5) * lamp[3, 0])
    if kind in (TONGUE, TEETH):
        return np.float32(0.45) + np.float32(0.55) * lit
    return lit + (1 - lit) * np.float32(0.35) * lamp[3, 0]


@njit(cache=True, fastmath=True, nogil=True)
def _shine(lamp, kind, nx, ny, nz):
    """The highlight that the lamp draws for a viewer in front."""
    hx, hy, hz = _unit(lamp[0, 0], lamp[0, 1], lamp[0, 2] + np.float32(1))
    gain = lamp[3, 1] if kind == SKIN else np.float32(1)
    return gain * _SPECULAR[kind] * max(nx * hx + ny * hy + nz * hz, np.float32(0)) ** _SHININESS[kind]


@njit(cache=True, fastmath=True, nogil=True)
def _colour(pixel, albedo, lamp, kind, nx, ny, nz, lit, hollow):
    """Light a point: the lamp's direct light and highlight, the sky's, and a rim of light from behind."""
    dx, dy, dz = lamp[0]
    seen = lit * (hollow * np.float32(0.5) + np.float32(0.5))
    facing = nx * dx + ny * dy + nz * dz
    sky = (np.float32(0.75) + np.float32(0.25) * ny) * hollow
    rim = max(-dx * nx + np.float32(0.1) * ny + np.float32(0.6) * nz, np.float32(0))
    rim *= lamp[3, 2] * hollow
    shine = _shine(lamp, kind, nx, ny, nz) * seen
    for channel in range(3):
        wrap = _WRAP[kind] + _SOFT_WRAP * lamp[3, 0]
        if kind == SKIN and channel == 0:  # red light travels furthest under the skin
            wrap *= np.float32(1.6)
        direct = max((facing + wrap) / (1 + wrap), np.float32(0)) * seen
        light = lamp[2, channel] * sky + lamp[1, channel] * direct + rim
        pixel[channel] = albedo[channel] * light + shine * lamp[1, channel]
    pixel[3] = 1


@njit(cache=True, fastmath=True, nogil=True)
def shade(ids, shape, mesh, colours, face, light, image):
    """Colour every covered pixel of `image` (linear, alpha last) with the triangle that covers it.

    Args:
        ids: The triangle that covers each pixel, below 0 for none.
        shape: Points on the screen, in space, and their normals.
        mesh: Triangles, their places on the textures, their materials, and `SolidMesh.surface`.
        colours: Textures of skin, teeth and eyes, the skin's gain after the first, the plain colours last.
        face: The maps over the face: folds, paint; then the head's x and y axis as the camera sees them.
        light: Nearness to the lamp as the lamp sees it; that map's x, y and nearness for a point, each an
            affine row of four; the result of `openness`; `Scene.lamp`.
    """
    albedo = np.empty(3, np.float32)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if ids[y, x] >= 0:
                _shade_pixel(x, y, ids[y, x], shape, mesh, colours, face, light, albedo, image[y, x])


@njit(cache=True, fastmath=True, nogil=True)
def _shade_pixel(x, y, t, shape, mesh, colours, face, light, albedo, pixel):
    screen, points, normal = shape
    triangles, uv, _, surface = mesh
    folds, paint, axes = face
    i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    a, b, c = _shares(screen, i, j, k, x, y)
    nx, ny, nz = _mixed(normal, i, j, k, a, b, c)
    map_x, map_y, garment = _mixed(surface, i, j, k, a, b, c)
    cloth = a * surface[i, 3] + b * surface[j, 3] + c * surface[k, 3]
    kind = _worn(np.int64(mesh[2][t]), garment, cloth)
    u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
    v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
    _albedo(albedo, kind, u, v, colours)
    hollow = light[2][min(y >> 1, light[2].shape[0] - 1), min(x >> 1, light[2].shape[1] - 1)]
    # A triangle that only in part lies on the map has no place there: between, -1 would be mixed in.
    if kind == SKIN and min(surface[i, 0], surface[j, 0], surface[k, 0]) > 0:
        bare = _painted(albedo, paint, map_x, map_y)
        nx, ny, nz, open_share = _folded(folds, axes, map_x, map_y, bare, nx, ny, nz)
        hollow *= open_share
    nx, ny, nz = _unit(nx, ny, nz)
    if kind in (TONGUE, TEETH):
        nx, ny, nz = _facing_out(nx, ny, nz)
        hollow = np.float32(0.55) + np.float32(0.45) * hollow
    wx, wy, wz = _mixed(points, i, j, k, a, b, c)
    lit = _arriving(light, kind, wx, wy, wz, nx, ny, nz)
    _colour(pixel, albedo, light[3], kind, nx, ny, nz, lit, hollow)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _worn(kind, garment, cloth):
    """What is seen of the skin where clothes lie over it."""
    if kind != SKIN:
        return kind
    if garment > 0:
        return np.int64(GARMENT)
    return np.int64(CLOTH) if cloth > 0 else kind
