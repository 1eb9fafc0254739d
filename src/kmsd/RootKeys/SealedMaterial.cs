namespace Kmsd.RootKeys;

/// <summary>A version's material as it is at rest: carried by one root generation.</summary>
/// <param name="Generation">Whose seal or wrap key carries it.</param>
/// <param name="Mechanism">How.</param>
/// <param name="TokenFamily">The family of the token that made it.</param>
/// <param name="Blob">What the root key carries.</param>
/// <param name="Binding">For protection <c>hsm</c>: made by the key itself over what it belongs to.</param>
internal sealed record SealedMaterial(long Generation, string Mechanism, string TokenFamily, byte[] Blob, byte[]? Binding = null);
