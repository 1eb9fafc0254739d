using System.Text;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// Private data objects in the token (PKCS#11 v2.40 §4.5). A value is never changed in place: SoftHSM refuses that, and a
/// process killed meanwhile would leave half of it. So a new object is made, and then the older ones are destroyed.
/// </summary>
internal static class TokenDataObjects
{
    private static readonly byte[] s_application = "kmsd"u8.ToArray();

    /// <summary>The values of all objects with a label, in no order: more than one where a replacement was cut off.</summary>
    public static IReadOnlyList<byte[]> Read(Module module, ulong session, string label) =>
        [.. Find(module, session, label).Select(handle => module.Attribute(session, handle, CKA.CKA_VALUE)).OfType<byte[]>()];

    /// <summary>Makes an object with the value, and then destroys all others with the label.</summary>
    public static void Replace(Module module, ulong session, string label, byte[] value)
    {
        IReadOnlyList<ulong> older = Find(module, session, label);
        ulong made = Create(module, session, label, value);
        if (module.Attribute(session, made, CKA.CKA_VALUE) is not byte[] written || !written.AsSpan().SequenceEqual(value))
        {
            module.DestroyObject(session, made);
            throw new TokenException(TokenFault.Unsupported, "The token doesn't give back a data object as it was written.");
        }

        foreach (ulong handle in older)
        {
            module.DestroyObject(session, handle);
        }
    }

    public static void Destroy(Module module, ulong session, string label)
    {
        foreach (ulong handle in Find(module, session, label))
        {
            module.DestroyObject(session, handle);
        }
    }

    private static IReadOnlyList<ulong> Find(Module module, ulong session, string label)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_DATA).Add(CKA.CKA_TOKEN, true).Add(CKA.CKA_LABEL, Encoding.UTF8.GetBytes(label));
        return module.Find(session, template);
    }

    private static ulong Create(Module module, ulong session, string label, byte[] value)
    {
        using Template template = new();
        _ = template.Add(CKA.CKA_CLASS, CKO.CKO_DATA).Add(CKA.CKA_TOKEN, true).Add(CKA.CKA_PRIVATE, true).Add(CKA.CKA_MODIFIABLE, false)
            .Add(CKA.CKA_LABEL, Encoding.UTF8.GetBytes(label)).Add(CKA.CKA_APPLICATION, s_application).Add(CKA.CKA_VALUE, value);
        return module.CreateObject(session, template);
    }
}
